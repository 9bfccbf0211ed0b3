"""Networks of the literature from the files that their authors published.

DiT (facebookresearch/DiT), ADM and its classifier (openai/guided-diffusion), EDM's DDPM++, NCSN++
and ADM and EDM2's U-Net (NVlabs/edm and edm2, converted to safetensors: their `.pkl` files hold
code, which is never run), and the tutorials' U-Net (dome272/Diffusion-Models-pytorch).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from diffax.models import (
    ADM,
    BoundModule,
    DiT,
    EDM2UNet,
    NoisyClassifier,
    SongUNet,
    TutorialUNet,
)
from diffax.models.adm import level_attentions
from diffax.pretrained import original
from diffax.pretrained.filling import fill
from diffax.pretrained.naming import HARMLESS, Source
from diffax.pretrained.pickled import PickledCheckpoint
from diffax.pretrained.weights import SafetensorsFiles, Subset, Tensors

PaperNetwork = DiT | ADM | EDM2UNet | NoisyClassifier | SongUNet | TutorialUNet
Rules = tuple[tuple[str, str | Callable[[re.Match], str]], ...]

# What such files hold besides the parameters.
LEFTOVER: tuple[tuple[str, str], ...] = (
    *HARMLESS,
    (r"^pos_embed$", "DiT's fixed positions, computed here"),
    (r"\.resample_filter$", "EDM's filter, a field here"),
)

DIT: Rules = (
    (r"^time_embedding\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_embedding\.linear_2\.", "t_embedder.mlp.2."),
    (r"^class_embedding\.", "y_embedder.embedding_table."),
    (r"^patches\.", "x_embedder.proj."),
    (r"\.attn\.to_out\.0\.", ".attn.proj."),
    (r"\.mlp\.net\.0\.proj\.", ".mlp.fc1."),
    (r"\.mlp\.net\.2\.", ".mlp.fc2."),
    (r"\.modulation\.", ".adaLN_modulation.1."),
    (r"\.to_([qkv])\.", r".qkv."),
)

GUIDED_ATTENTION: Rules = (
    (r"^group_norm\.", "norm."),
    (r"^to_out\.0\.", "proj_out."),
    (r"^to_[qkv]\.", "qkv."),
)

CLASSIFIER_ENDS: Rules = (
    (r"^norm_out\.", "out.0."),
    (r"^places$", "out.2.positional_embedding"),
    (r"^pool\.to_[qkv]\.", "out.2.qkv_proj."),
    (r"^pool\.to_out\.0\.", "out.2.c_proj."),
)

EDM_ENDS: Rules = (
    (r"^time_embedding\.linear_1\.", "map_layer0."),
    (r"^time_embedding\.linear_2\.", "map_layer1."),
    (r"^class_embedding\.", "map_label."),
    (r"^augment_embedding\.", "map_augment."),
    (r"^frequencies\.frequencies$", "map_noise.freqs"),
    (r"^conv_norm_out\.", "out_norm."),
    (r"^conv_out\.(weight|bias)$", r"out_conv.\1"),
)

EDM_BLOCK: Rules = (
    (r"^norm1\.", "norm0."),
    (r"^norm2\.", "norm1."),
    (r"^conv1\.", "conv0."),
    (r"^conv2\.", "conv1."),
    (r"^time_emb_proj\.", "affine."),
    (r"^conv_shortcut\.", "skip."),
    (r"^group_norm\.", "norm2."),
    (r"^to_out\.0\.", "proj."),
    (r"^to_[qkv]\.", "qkv."),
)

EDM2: Rules = (
    (r"^waves\.frequencies$", "emb_fourier.freqs"),
    (r"^waves\.phases$", "emb_fourier.phases"),
    (r"^time_embedding\.", "emb_noise."),
    (r"^class_embedding\.", "emb_label."),
    (r"^conv_out\.", "out_conv."),
    (r"^gain$", "out_gain"),
    (r"\.gain$", ".emb_gain"),
    (r"\.embedding\.", ".emb_linear."),
    (r"\.conv1\.", ".conv_res0."),
    (r"\.conv2\.", ".conv_res1."),
    (r"\.shortcut\.", ".conv_skip."),
    (r"\.to_[qkv]\.", ".attn_qkv."),
    (r"\.to_out\.", ".attn_proj."),
)

TUTORIAL: Rules = (
    (r"^conv_in\.", "inc."),
    (r"^conv_out\.", "outc."),
    (r"^class_embedding\.", "label_emb."),
    (r"^middle\.(\d)\.", lambda m: f"bot{int(m[1]) + 1}."),
    (r"^(down|up)_(\d)_attention\.", lambda m: f"sa{int(m[2]) + (1 if m[1] == 'down' else 4)}."),
    (r"^(down|up)_(\d)_", lambda m: f"{m[1]}{int(m[2]) + 1}."),
    (r"^(down\d)\.conv\.(\d)\.", lambda m: f"{m[1]}.maxpool_conv.{int(m[2]) + 1}."),
    (r"^(down\d|up\d)\.time\.", r"\1.emb_layer.1."),
    (r"\.conv1\.weight$", ".double_conv.0.weight"),
    (r"\.norm1\.(weight|bias)$", r".double_conv.1.\1"),
    (r"\.conv2\.weight$", ".double_conv.3.weight"),
    (r"\.norm2\.(weight|bias)$", r".double_conv.4.\1"),
    (r"^(sa\d)\.double_conv\.1\.", r"\1.ln."),
    (r"^(sa\d)\.double_conv\.4\.", r"\1.ff_self.0."),
    (r"\.ff\.net\.0\.proj\.", ".ff_self.1."),
    (r"\.ff\.net\.2\.", ".ff_self.3."),
    (r"\.attn1\.to_out\.0\.", ".mha.out_proj."),
    (r"\.attn1\.to_[qkv]\.(weight|bias)$", r".mha.in_proj_\1"),
)


def load_original(
    module: PaperNetwork,
    file: str | Path,
    *,
    size: int,
    channels: int = 3,
    new_attention_order: bool = False,
) -> BoundModule:
    """A network of a paper with the weights that its authors published.

    Args:
        module: with the fields that belong to the file; every tensor must fit.
        file: `.safetensors`, or a `.pt`, `.pth` or `.ckpt` that holds tensors and nothing else.
        size: height and width of the images (or latents) that the file was made for, in pixels.
        channels: of the input.
        new_attention_order: guided-diffusion's flag of that name, which no file tells: True for
            its ImageNet model for 64 x 64.

    Returns:
        The network, complete; nothing is half-loaded.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that holds code, is damaged, or whose tensors do not fit the fields.

    Example:
        >>> dit = DiT.of_size("XL", patch_size=2, num_classes=1000, learned_variance=True)
        >>> network = load_original(
        ...     dit, "DiT-XL-2-256x256.pt", size=32, channels=4
        ... )  # doctest: +SKIP
    """
    file = Path(file)
    if file.suffix == ".pkl":
        raise ValueError(
            f"{file}: expected tensors, got a pickle of a whole network, which holds code; load "
            "it with its authors' program and save its state_dict as safetensors"
        )
    safe = file.suffix == ".safetensors"
    tensors: Tensors = SafetensorsFiles(file) if safe else PickledCheckpoint(file)
    for prefix in ("module.", "model."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = Subset(tensors, prefix)
    x = jnp.zeros((1, size, size, channels))
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, jnp.zeros(1))
    locate = locator(module, x, "map_layer0.weight" in tensors, new_attention_order)
    return BoundModule(
        module, fill(shapes, tensors, locate=locate, harmless=LEFTOVER, where=str(file))
    )


def locator(
    module: PaperNetwork, x: jax.Array, edm: bool = False, new_attention_order: bool = False
) -> Callable[[str], Source]:
    """From a key of ours to its place in the authors' file.

    Args:
        module: the network.
        x: images of the size that the file was made for.
        edm: ADM in EDM's layout instead of guided-diffusion's.
        new_attention_order: see `load_original`.
    """
    match module:
        case DiT():
            return lambda key: _fused(key, _renamed(key, DIT))
        case TutorialUNet():
            return lambda key: _fused(key, _renamed(key, TUTORIAL))
        case EDM2UNet():
            return _edm2(module, x.shape[1])
        case SongUNet():
            return _edm(module, x.shape[1])
        case ADM() if edm:
            return _edm(module, x.shape[1])
        case ADM() | NoisyClassifier():
            return _guided(module, x, new_attention_order)
    raise TypeError(f"{type(module).__name__} is none of the papers' networks")


def _guided(
    module: ADM | NoisyClassifier, x: jax.Array, new_attention_order: bool
) -> Callable[[str], Source]:
    specs = level_attentions(module, x)
    attends = [spec is not None for spec in reversed(specs[:-1])]

    def inside(rest: str) -> str:
        return _renamed(rest, GUIDED_ATTENTION)

    def locate(key: str) -> Source:
        end = _renamed(key, CLASSIFIER_ENDS)
        if end != key:
            return Source(end, transposed=True) if key == "places" else _fused(key, end)
        name = original.unet_key(key, module.num_res_blocks, attends, inside)
        if new_attention_order or not re.search(r"\.to_[qkv]\.", key):
            return _fused(key, name)
        # Split into heads first, then into query, key and value.
        width = _width(key, module.widths)
        return _fused(key, name, width // (module.num_heads or width // module.head_size))

    return locate


def _width(key: str, widths: tuple[int, ...]) -> int:
    """Channels of the level that a key belongs to."""
    part, rest = key.split(".", 1)
    if part == "mid_block":
        return widths[-1]
    i = int(rest.split(".", 1)[0])
    return widths[i] if part == "down_blocks" else widths[-1 - i]


def _edm(module: SongUNet | ADM, side: int) -> Callable[[str], Source]:
    last = len(module.multipliers) - 1

    def at(level: int) -> str:
        return f"{side >> level}x{side >> level}"

    def place(key: str) -> str:
        part, i, rest = (*key.split(".", 2), "")[:3]
        if part == "conv_in":
            return f"enc.{at(0)}_conv.{i}"
        if part == "mid_block":
            number, rest = rest.split(".", 1)
            return f"dec.{at(last)}_in{number}.{_renamed(rest, EDM_BLOCK)}"
        level = int(i) if part in ("down_blocks", "side") else last - int(i)
        if part == "side":
            kind = (
                "residual"
                if isinstance(module, SongUNet) and module.encoder == "residual"
                else "skip"
            )
            return f"enc.{at(level + 1)}_aux_{kind}.{rest}"
        if part in ("norm_out", "conv_out"):
            return f"dec.{at(level)}_aux_{part.removesuffix('_out')}.{rest}"
        if part == "upsamplers":
            return f"dec.{at(level - 1)}_up.{_renamed(rest, EDM_BLOCK)}"
        kind, number, rest = rest.split(".", 2)
        rest = _renamed(rest, EDM_BLOCK)
        if kind == "downsamplers":
            return f"enc.{at(level + 1)}_down.{rest}"
        if kind == "upsamplers":
            return f"dec.{at(level - 1)}_up.{rest}"
        half = "enc" if part == "down_blocks" else "dec"
        return f"{half}.{at(level)}_block{number}.{rest}"

    def locate(key: str) -> Source:
        end = _renamed(key, EDM_ENDS)
        if end != key:
            # ADM has a table of classes where the file has a linear map of one-hot labels.
            table = isinstance(module, ADM) and key == "class_embedding.weight"
            return Source(end, transposed=table)
        return _fused(key, place(key), 1)

    return locate


def _edm2(module: EDM2UNet, side: int) -> Callable[[str], Source]:
    def at(level: str | int) -> str:
        return f"{side >> int(level)}x{side >> int(level)}"

    lowest = at(len(module.multipliers) - 1)
    places: Rules = (
        (r"^conv_in\.", f"enc.{at(0)}_conv."),
        (r"^down\.(\d+)\.", lambda m: f"enc.{at(m[1])}_down."),
        (r"^down_(\d+)\.(\d+)\.", lambda m: f"enc.{at(m[1])}_block{m[2]}."),
        (r"^middle\.(\d)\.", rf"dec.{lowest}_in\1."),
        (r"^up\.(\d+)\.", lambda m: f"dec.{at(m[1])}_up."),
        (r"^up_(\d+)\.(\d+)\.", lambda m: f"dec.{at(m[1])}_block{m[2]}."),
    )
    return lambda key: _fused(key, _renamed(_renamed(key, EDM2), places), 1)


def _fused(key: str, name: str, run: int | None = None) -> Source:
    """A place in the matrix of query, key and value, where the key is one of them."""
    found = re.search(r"\.to_([qkv])\.", key)
    return Source(name) if found is None else Source(name, ("qkv".index(found[1]), 3), run)


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
