"""The perceptual distance LPIPS from files: VGG-16's features and the heads that weigh them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.models.lpips import LEVELS, LPIPSNetwork
from diffax.pretrained.pickled import PickledCheckpoint
from diffax.pretrained.weights import SafetensorsFiles, Tensors

# A convolution's number in torchvision's `features`: every one is followed by a ReLU, every level
# by a pooling.
_NUMBERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


@dataclass(frozen=True)
class LPIPS:
    """Features of VGG-16, weighed as people judge likeness (Zhang et al. 2018)."""

    path: str = ""
    """VGG-16: torchvision's vgg16 file, or one of the whole distance; .safetensors, .pth."""
    heads: str | None = None
    """The heads, such as the lpips package's weights/v0.1/vgg.pth; None: they are in `path`."""
    weight: float = 1.0
    """Beside the reconstruction, >= 0."""

    def __post_init__(self) -> None:
        """Checks the weight."""
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"perceptual.weight must be >= 0 and finite, got {self.weight}")

    def open(self) -> Any:
        """The parameters.

        Raises:
            FileNotFoundError: no path, or no such file.
            ValueError: files of another layout, or damaged ones; in one line.
        """
        if not self.path:
            raise FileNotFoundError(
                "perceptual lpips needs --perceptual.path: a file with the weights of VGG-16; "
                "without one use --perceptual gradients"
            )
        features = _tensors(self.path)
        heads = features if self.heads is None else _tensors(self.heads)
        return read_lpips(features, heads, self.path, self.heads or self.path)

    def __call__(self, params: Any, a: Array, b: Array) -> Array:
        """Mean distance of images `[B, H, W, 3]` in [-1, 1]; float32 scalar."""
        # Flax says "or a pair", which only `mutable` gives.
        return jnp.mean(cast(Array, LPIPSNetwork().apply(params, a, b)))


PERCEPTUAL: dict[str, type] = {"lpips": LPIPS}


def read_lpips(features: Tensors, heads: Tensors, path: str, heads_path: str) -> Any:
    """Parameters of `LPIPSNetwork` from tensors in the published layouts.

    Args:
        features: torchvision's `features.N.weight`, or the lpips package's `net.sliceK.N.weight`.
        heads: `linK.model.1.weight` `[1, C, 1, 1]`.
        path: of the features, for errors.
        heads_path: of the heads, likewise.

    Raises:
        ValueError: tensors that are missing, or of another shape.
    """
    params: dict[str, Any] = {}
    numbers = iter(_NUMBERS)
    before = 3
    for i, widths in enumerate(LEVELS):
        for j, width in enumerate(widths):
            number = next(numbers)
            names = [f"features.{number}", f"net.slice{i + 1}.{number}", f"slice{i + 1}.{number}"]
            kernel = _one(features, [f"{n}.weight" for n in names], (width, before, 3, 3), path)
            bias = _one(features, [f"{n}.bias" for n in names], (width,), path)
            params[f"conv_{i}_{j}"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
            before = width
        names = [f"lin{i}.model.1.weight", f"lins.{i}.model.1.weight"]
        head = _one(heads, names, (1, widths[-1], 1, 1), heads_path)
        params[f"head_{i}"] = head.reshape(-1)
    return {"params": jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), params)}


def _one(tensors: Tensors, names: list[str], shape: tuple[int, ...], path: str) -> np.ndarray:
    found = next((name for name in names if name in tensors), None)
    if found is None:
        hint = (
            "; give perceptual.heads, the lpips package's vgg.pth"
            if names[0].startswith("lin")
            else ""
        )
        raise ValueError(f"{path}: no tensor {names[0]}; it does not hold VGG-16's{hint}")
    if tensors.shape(found) != shape:
        raise ValueError(
            f"{path}: {found} should be {list(shape)}, got {list(tensors.shape(found))}"
        )
    return np.asarray(tensors[found], np.float32)


def _tensors(path: str) -> Tensors:
    file = Path(path)
    return SafetensorsFiles(file) if file.suffix == ".safetensors" else PickledCheckpoint(file)
