"""LoRA files of others: read onto a model, and written as others read them (Hu et al. 2022).

In JAX parameters are arguments of the compiled program, so that `with_loras` is both "fused" and
"live": another scale or another file of the same shapes runs the programs that are there.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import hub
from diffax.adapters import LowRank
from diffax.adapters.paths import flat, nested
from diffax.generation import Model
from diffax.pretrained import lora_names, remote
from diffax.pretrained.corrections import (
    Correction,
    Factors,
    Hadamard,
    Kronecker,
    check_fit,
    corrected,
    peft_magnitude,
    read_magnitude,
    write_magnitude,
)
from diffax.pretrained.files import open_file
from diffax.pretrained.lora_names import Grouped
from diffax.pretrained.naming import published_key
from diffax.pretrained.parts import parts_of, with_parts
from diffax.pretrained.saving import write_safetensors
from diffax.pretrained.weights import Tensors

# Where the reference keeps alphas in a safetensors file's metadata.
METADATA = "lora_adapter_metadata"


@dataclasses.dataclass(frozen=True)
class Lora:
    """Corrections of a model's kernels.

    Attributes:
        parts: of "unet", "text_encoder" and "text_encoder_2", the corrections by the kernel's name,
            such as "down_blocks_0/attentions_0/proj_in/kernel".
    """

    parts: Mapping[str, Mapping[str, Correction]]


def load_lora(path: str | Path, model: Model) -> Lora:
    """Reads a LoRA, LoHa or LoKr for a model, with or without DoRA's magnitudes.

    Args:
        path: a `.safetensors`, `.pt` or `.bin` file, as diffusers, PEFT, kohya or LyCORIS write it,
            or a folder with `pytorch_lora_weights.safetensors` or `adapter_model.safetensors`; or
            either on the hub, `org/name[@revision][/file]`.
        model: the base model, which it must fit.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: made for another base model, damaged, or of a kind that is not supported
            (OFT, full differences, ...), which is named.

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
    parts: dict[str, dict[str, Correction]] = {}
    wrong = []
    for group in groups.values():
        layer = places.get(group.module)
        if layer is None:
            wrong.append(f"{group.module} is no layer of it")
            continue
        try:
            shape = kernels[layer.part][layer.path].shape
            correction = _correction(group, tensors, shape, alphas.get(layer.part, {}))
        except ValueError as error:
            wrong.append(f"{group.module} {error}")
            continue
        parts.setdefault(layer.part, {})[layer.path] = correction
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
        names = sorted({f"params/{name}" for corrections, _ in own for name in corrections})
        if not names:
            continue
        tables = [
            ({f"params/{name}": one for name, one in corrections.items()}, scale)
            for corrections, scale in own
        ]
        changed[part] = nested(leaves | _fused({n: leaves[n] for n in names}, tables))
    return with_parts(model, changed)


@jax.jit
def _fused(kernels: dict[str, Array], tables: list[Any]) -> dict[str, Array]:
    return {
        name: corrected(kernel, [(table[name], scale) for table, scale in tables if name in table])
        for name, kernel in kernels.items()
    }


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
    parts: dict[str, dict[str, Correction]] = {}
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
        ValueError: the layout has no place for LoHa and LoKr, which "kohya" has.
    """
    file = Path(file)
    if file.exists():
        raise FileExistsError(f"{file} exists; save to another name or remove it first")
    tensors: dict[str, Array] = {}
    xl = "text_encoder_2" in lora.parts
    for part, corrections in lora.parts.items():
        for path, own in corrections.items():
            name = published_key(tuple(path.split("/"))).removesuffix(".weight")
            if layout == "kohya":
                name = lora_names.kohya(part, name, xl)
                own_tensors = _kohya_tensors(own)
            elif isinstance(own, Factors):
                name = f"{part}.{name}"
                own_tensors = _diffusers_tensors(own)
            else:
                raise ValueError(
                    f"{file}: {type(own).__name__} corrections ({name}) have no place in the "
                    f"layout {layout!r}; save with layout='kohya'"
                )
            tensors |= {f"{name}.{role}": tensor for role, tensor in own_tensors.items()}
    metadata = {} if layout == "kohya" else _metadata(lora)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, {key: ("plain", t) for key, t in tensors.items()}, metadata=metadata)


def _published(own: Factors) -> tuple[Array, Array]:
    """`[rank, C_in (, h, w)]` and `[C_out, rank (, 1, 1)]`."""
    if own.down.ndim == 2:
        return own.down.T, own.up.T
    return own.down.transpose(3, 2, 0, 1), own.up.T[..., None, None]


def _kohya_tensors(own: Correction) -> dict[str, Array]:
    if isinstance(own, Factors):
        down, up = _published(own)
        tensors = {"lora_down.weight": down, "lora_up.weight": up}
        dtype = up.dtype
    else:
        tensors = dict(own.tensors)
        dtype = next(iter(tensors.values())).dtype
    if own.magnitude is not None:
        tensors["dora_scale"] = write_magnitude(own.magnitude)
    return tensors | {"alpha": jnp.asarray(own.alpha, dtype)}


def _diffusers_tensors(own: Factors) -> dict[str, Array]:
    down, up = _published(own)
    tensors = {"lora_A.weight": down, "lora_B.weight": up}
    if own.magnitude is not None:
        tensors["lora_magnitude_vector"] = peft_magnitude(own.magnitude)
    return tensors


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


def _correction(
    group: Grouped, tensors: Tensors, shape: tuple[int, ...], settings: Mapping[str, Any]
) -> Correction:
    """The correction of one kernel; ValueError says what does not fit, after the layer's name."""
    own = {role: np.asarray(tensors[key], np.float32) for role, key in group.keys.items()}
    magnitude = None
    if "dora_scale" in own:  # of outputs, or, in older files, of inputs
        outputs = own["dora_scale"].shape[0] == shape[-1]
        magnitude = read_magnitude(own["dora_scale"], shape, outputs=outputs)
    if "magnitude" in own:
        magnitude = read_magnitude(own["magnitude"], shape, outputs=True)
    kinds = [kind for kind in (Hadamard, Kronecker) if any(name in own for name in kind.names)]
    if not kinds:
        down, up = _factors(own, shape)
        alpha = _alpha(own, settings, group.module, up.shape[0])
        return Factors(down, up, alpha, magnitude)
    parts = {name: jnp.asarray(own[name]) for name in kinds[0].names if name in own}
    correction = kinds[0](parts, 1.0, magnitude)
    check_fit(correction, shape)
    if isinstance(correction, Kronecker) and not correction.factored:
        # LyCORIS writes an alpha that was of no account; PEFT's rank is known by its settings only.
        alpha = settings.get("alpha", 1.0) / settings.get("r", 1)
    else:
        alpha = _alpha(own, settings, group.module, correction.rank)
    return dataclasses.replace(correction, alpha=alpha)


def _factors(own: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """`down` and `up` of `Factors`."""
    if "down" not in own or "up" not in own:
        raise ValueError(f"has no {'up' if 'down' in own else 'down'} factor")
    down, up = own["down"], own["up"]
    if "mid" in own:  # a convolution in three factors
        down = np.einsum("abhw,bc->achw", own["mid"], down.reshape(down.shape[:2]))
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
    return jnp.asarray(kernel), jnp.asarray(up.reshape(features, rank).T)


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
    return settings


def _alpha(
    own: Mapping[str, np.ndarray], settings: Mapping[str, Any], module: str, rank: int
) -> float:
    """A layer's alpha: its own tensor's, the settings', or its rank."""
    if "alpha" in own:
        return float(own["alpha"])
    alpha = settings.get("lora_alpha", settings.get("alpha"))
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
    if alpha is None:
        return float(rank)
    return float(alpha) * (rank**0.5 if settings.get("use_rslora") else 1.0)


def _metadata(lora: Lora) -> dict[str, str]:
    """The settings that PEFT needs where an alpha is not its rank."""
    every = [own for part in lora.parts.values() for own in part.values()]
    if all(own.alpha == own.rank and own.magnitude is None for own in every):
        return {}
    told: dict[str, Any] = {}
    for part, corrections in lora.parts.items():
        # PEFT looks for endings; newer text encoders have no part "text_model".
        named = {
            published_key(tuple(path.split("/")))
            .removesuffix(".weight")
            .removeprefix("text_model."): own
            for path, own in corrections.items()
        }
        ranks = {n: own.rank for n, own in named.items()}
        alphas = {n: np.asarray(own.alpha).item() for n, own in named.items()}
        rank = Counter(ranks.values()).most_common(1)[0][0]
        alpha = Counter(alphas.values()).most_common(1)[0][0]
        told |= {
            f"{part}.r": rank,
            f"{part}.lora_alpha": alpha,
            f"{part}.rank_pattern": {n: own for n, own in ranks.items() if own != rank},
            f"{part}.alpha_pattern": {n: own for n, own in alphas.items() if own != alpha},
            f"{part}.target_modules": sorted(named),
            f"{part}.use_dora": any(own.magnitude is not None for own in named.values()),
        }
    return {METADATA: json.dumps(told, sort_keys=True)}
