"""LoRA files of others: read onto a model, and written as others read them (Hu et al. 2022).

In JAX parameters are arguments of the compiled program, so that `with_loras` is both "fused" and
"live": another scale or another file of the same shapes runs the programs that are there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import hub
from diffax.adapters import LowRank
from diffax.adapters.low_rank import corrected
from diffax.adapters.paths import flat, nested
from diffax.generation import Model
from diffax.pretrained import lora_names, remote
from diffax.pretrained.files import open_file
from diffax.pretrained.lora_names import Grouped, Layer
from diffax.pretrained.naming import published_key
from diffax.pretrained.parts import parts_of, with_parts
from diffax.pretrained.saving import write_safetensors
from diffax.pretrained.weights import Tensors

# Where the reference keeps alphas in a safetensors file's metadata.
METADATA = "lora_adapter_metadata"


@dataclass(frozen=True)
class Factors:
    """The correction `alpha / rank * down up` of one kernel.

    Attributes:
        down: `[C_in, rank]`, or `[h, w, C_in, rank]` of a convolution.
        up: `[rank, C_out]`.
        alpha: strength; the rank for a factor of 1.
    """

    down: Array
    up: Array
    alpha: float

    @property
    def rank(self) -> int:
        """Columns of `down`."""
        return self.up.shape[0]


@dataclass(frozen=True)
class Lora:
    """Corrections of a model's kernels.

    Attributes:
        parts: of "unet", "text_encoder" and "text_encoder_2", the factors by the kernel's name,
            such as "down_blocks_0/attentions_0/proj_in/kernel".
    """

    parts: Mapping[str, Mapping[str, Factors]]


def load_lora(path: str | Path, model: Model) -> Lora:
    """Reads a LoRA for a model, in the layouts of diffusers, PEFT or kohya.

    Args:
        path: a `.safetensors`, `.pt` or `.bin` file, or a folder with
            `pytorch_lora_weights.safetensors` or `adapter_model.safetensors`; or either on the
            hub, `org/name[@revision][/file]`.
        model: the base model, which it must fit.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: made for another base model, damaged, or of a kind that is not supported
            (LoHa, LoKr, DoRA, ...), which is named.

    Example:
        >>> model = load_pipeline("stable-diffusion-v1-5")  # doctest: +SKIP
        >>> model = with_loras(model, (load_lora("pixels.safetensors", model), 0.8))
        ... # doctest: +SKIP
    """
    file = _file(hub.located(path, remote.LORA))
    tensors = open_file(file)
    groups = lora_names.grouped(tensors, str(file))
    kernels = {
        part: {name[len("params/") :]: leaf for name, leaf in flat(network.params).items()}
        for part, network in parts_of(model).items()
    }
    places = lora_names.places(parts_of(model))
    alphas = _alphas(file, tensors)
    parts: dict[str, dict[str, Factors]] = {}
    wrong = []
    for group in groups.values():
        layer = places.get(group.module)
        if layer is None:
            wrong.append(f"{group.module} is no layer of it")
            continue
        try:
            factors = _factors(group, tensors, kernels[layer.part][layer.path].shape, alphas, layer)
        except ValueError as error:
            wrong.append(f"{group.module} {error}")
            continue
        parts.setdefault(layer.part, {})[layer.path] = factors
    if wrong:
        family = lora_names.family(tensors)
        raise ValueError(
            f"{file}: this LoRA was made for another base model{family}: {len(wrong)} of its "
            f"{len(groups)} layers do not fit, the first: {wrong[0]}"
        )
    return Lora(parts)


def with_loras(model: Model, *loras: tuple[Lora, float]) -> Model:
    """The model with corrected kernels; its other arrays are shared with the model given.

    Start from the same model again for other scales: nothing is compiled anew.

    Args:
        model: the base model.
        *loras: each with its scale; their corrections add up.

    Raises:
        ValueError: a scale that is not finite, or a LoRA for a part that the model has not.
    """
    parts = {name: network.params for name, network in parts_of(model).items()}
    for lora, scale in loras:
        if not np.isfinite(scale):
            raise ValueError(f"a LoRA's scale should be a finite number, got {scale}")
        if missing := sorted(set(lora.parts) - set(parts)):
            raise ValueError(f"this LoRA corrects {', '.join(missing)}, which the model has not")
    changed = {}
    for part, params in parts.items():
        leaves = flat(params)
        own = [(lora.parts[part], scale) for lora, scale in loras if part in lora.parts]
        names = sorted({f"params/{name}" for factors, _ in own for name in factors})
        if not names:
            continue
        corrections = [
            {
                f"params/{name}": (f.down.reshape(-1, f.rank), f.up, scale * f.alpha / f.rank)
                for name, f in factors.items()
            }
            for factors, scale in own
        ]
        changed[part] = nested(leaves | _fused({n: leaves[n] for n in names}, corrections))
    return with_parts(model, changed)


@jax.jit
def _fused(kernels: dict[str, Array], corrections: list[dict[str, Any]]) -> dict[str, Array]:
    fused = {}
    for name, kernel in kernels.items():
        exact = kernel.astype(jnp.float32)
        for table in corrections:
            if name in table:
                exact = corrected(exact, *table[name])
        fused[name] = exact.astype(kernel.dtype)
    return fused


def trained_lora(trainable: Mapping[str, Any], adapter: LowRank, model: Model) -> Lora:
    """What the adapter `LowRank` learned, as a file can hold it.

    Args:
        trainable: `{"network.params.(...).kernel": {"down", "up"}, ...}`, as `LowRank.init` gives.
        adapter: its alpha.
        model: whose parts were trained.

    Raises:
        ValueError: factors of something that LoRA files have no name for.
    """
    shapes = {part: flat(network.params) for part, network in parts_of(model).items()}
    parts: dict[str, dict[str, Factors]] = {}
    for dotted, factors in trainable.items():
        found = _TRAINED.match(dotted)
        part = found and (found["encoder"] or "unet")
        if not found or part not in shapes:
            raise ValueError(f"{dotted} is no part of a published model; LoRA files have no name")
        name = found["rest"].replace(".", "/")
        *inside, _ = shapes[part][f"params/{name}"].shape
        rank = factors["up"].shape[0]
        alpha = rank if adapter.alpha is None else float(adapter.alpha)
        down = jnp.reshape(factors["down"], (*inside, rank))
        parts.setdefault(part, {})[name] = Factors(down, jnp.asarray(factors["up"]), alpha)
    return Lora(parts)


_TRAINED = re.compile(
    r"(network|conditioner\.(part_\d+\.)?(?P<encoder>text_encoder(_2)?))\.params\.(unet\.)?(?P<rest>.+)$"
)


def save_lora(
    lora: Lora, file: str | Path, *, layout: Literal["diffusers", "kohya"] = "diffusers"
) -> None:
    """Writes a LoRA as one safetensors file.

    Args:
        lora: from `load_lora` or `trained_lora`.
        file: must not exist.
        layout: "diffusers", with alphas in the metadata, or "kohya", with a tensor for each alpha.

    Raises:
        FileExistsError: the file is there.
    """
    file = Path(file)
    if file.exists():
        raise FileExistsError(f"{file} exists; save to another name or remove it first")
    tensors: dict[str, tuple[str, Any]] = {}
    xl = "text_encoder_2" in lora.parts
    for part, factors in lora.parts.items():
        for path, own in factors.items():
            name = published_key(tuple(path.split("/"))).removesuffix(".weight")
            conv = own.down.ndim == 4
            up = own.up[None, None] if conv else own.up
            if layout == "kohya":
                name = lora_names.kohya(part, name, xl)
                down_key, up_key = f"{name}.lora_down.weight", f"{name}.lora_up.weight"
                tensors[f"{name}.alpha"] = ("alpha", jnp.asarray(own.alpha, own.up.dtype))
            else:
                down_key, up_key = (f"{part}.{name}.lora_{x}.weight" for x in "AB")
            tensors[down_key], tensors[up_key] = ("kernel", own.down), ("kernel", up)
    metadata = {} if layout == "kohya" else _metadata(lora)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, tensors, metadata=metadata)


# ---------------------------------------------------------------- reading


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    names = ("pytorch_lora_weights", "adapter_model")
    found = [path / f"{n}.safetensors" for n in names if (path / f"{n}.safetensors").is_file()]
    if not found:
        raise FileNotFoundError(
            f"{path}: expected {' or '.join(f'{n}.safetensors' for n in names)}"
        )
    return found[0]


def _factors(
    group: Grouped,
    tensors: Tensors,
    shape: tuple[int, ...],
    alphas: dict[str, dict[str, Any]],
    layer: Layer,
) -> Factors:
    """The factors of one kernel; ValueError says which shape does not fit, after its name."""
    if group.down is None or group.up is None:
        raise ValueError(f"has no {'down' if group.down is None else 'up'} factor")
    down, up = (np.asarray(tensors[key], np.float32) for key in (group.down, group.up))
    if group.mid is not None:  # a convolution in three factors
        mid = np.asarray(tensors[group.mid], np.float32)
        down = np.einsum("abhw,bc->achw", mid, down.reshape(down.shape[:2]))
    *inside, features = shape
    rank = down.shape[0]
    kernel = down.transpose(2, 3, 1, 0) if down.ndim == 4 else down.T
    if len(inside) == 1 and kernel.ndim == 4 and kernel.shape[:2] == (1, 1):
        kernel = kernel[0, 0]
    if len(inside) == 3 and kernel.ndim == 2:
        kernel = kernel[None, None]
    if list(kernel.shape[:-1]) != inside:
        raise ValueError(f"takes {list(kernel.shape[:-1])}, this model's {inside}")
    if up.shape[:2] != (features, rank) or up.size != features * rank:
        raise ValueError(f"gives {list(up.shape)}, expected {[features, rank]}")
    if group.alpha is not None:
        alpha = float(np.asarray(tensors[group.alpha]))
    else:
        alpha = _alpha(alphas.get(layer.part, {}), group.module, rank)
    return Factors(jnp.asarray(kernel), jnp.asarray(up.reshape(features, rank).T), alpha)


def _alphas(file: Path, tensors: Tensors) -> dict[str, dict[str, Any]]:
    """The settings of each part that a file or the `adapter_config.json` beside it tells."""
    config = file.parent / "adapter_config.json"
    if file.name == "adapter_model.safetensors" and config.is_file():
        settings = {"unet": json.loads(config.read_text(encoding="utf-8"))}
    else:
        told = json.loads(getattr(tensors, "metadata", {}).get(METADATA, "{}"))
        settings = {}
        for key, value in told.items():
            part, _, name = key.partition(".")
            settings.setdefault(part, {})[name] = value
    for part, own in settings.items():
        if own.get("use_dora"):
            raise ValueError(f"{file}: DoRA ({part}) is not supported; use a plain LoRA")
    return settings


def _alpha(settings: Mapping[str, Any], module: str, rank: int) -> float:
    """A layer's alpha; without any, its rank."""
    alpha = settings.get("lora_alpha")
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
    if alpha is None:
        return float(rank)
    return float(alpha) * (rank**0.5 if settings.get("use_rslora") else 1.0)


def _metadata(lora: Lora) -> dict[str, str]:
    """The settings that PEFT needs where an alpha is not its rank."""
    if all(f.alpha == f.rank for part in lora.parts.values() for f in part.values()):
        return {}
    told: dict[str, Any] = {}
    for part, factors in lora.parts.items():
        # PEFT looks for endings; newer text encoders have no part "text_model".
        named = {
            published_key(tuple(path.split("/")))
            .removesuffix(".weight")
            .removeprefix("text_model."): own
            for path, own in factors.items()
        }
        rank = Counter(f.rank for f in named.values()).most_common(1)[0][0]
        alpha = Counter(f.alpha for f in named.values()).most_common(1)[0][0]
        told |= {
            f"{part}.r": rank,
            f"{part}.lora_alpha": alpha,
            f"{part}.rank_pattern": {n: f.rank for n, f in named.items() if f.rank != rank},
            f"{part}.alpha_pattern": {n: f.alpha for n, f in named.items() if f.alpha != alpha},
            f"{part}.target_modules": sorted(named),
        }
    return {METADATA: json.dumps(told, sort_keys=True)}
