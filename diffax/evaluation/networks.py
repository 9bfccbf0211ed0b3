"""Feature networks by name, with weights from files.

A choice is plain data, as in a recipe: `Inception(path="...")`; `load` gives the network. A network
of your own is such a class: a name, where its weights lie, and `load`.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.evaluation.features import FeatureNetwork, feature_network
from diffax.models import CIFARResNet, FIDInception
from diffax.pretrained.filling import fill
from diffax.pretrained.naming import Source
from diffax.pretrained.pickled import PickledCheckpoint
from diffax.pretrained.weights import SafetensorsFiles, Tensors

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"
INCEPTION_VARIABLE = "DIFFAX_INCEPTION"
INCEPTION_URL = (
    f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"
)

_HARMLESS = ((r"\.num_batches_tracked$", "how many batches training has seen"),)


@dataclass(frozen=True)
class Inception:
    """The Inception network of the FID, with its published weights."""

    path: str | None = None
    """The weights' file, pt_inception-2015-12-05-6726825d.pth. None: what the environment's
    DIFFAX_INCEPTION names."""
    own: bool = False
    """Accept weights of your own, also as safetensors: the checksum is not looked at, and figures
    are not called FID."""
    grid: str = "tensorflow"
    """How images are resized: tensorflow (as the published graph, torch-fidelity and the OpenAI
    evaluator do), pytorch (as pytorch-fid does)."""
    batch_size: int = 64
    """Images in one compiled call."""

    def load(self, dataset: Any = None) -> FeatureNetwork:
        """The network; the data set is not looked at.

        Raises:
            FileNotFoundError: no weights; says where they are to be had.
            ValueError: a wrong checksum, or tensors that do not fit.
        """
        module = FIDInception(grid=self.grid)
        path = self.path or os.environ.get(INCEPTION_VARIABLE)
        if not path or not Path(path).is_file():
            raise FileNotFoundError(
                f"no Inception weights{f' at {path}' if path else ''}: download {INCEPTION_URL} "
                f"and give its place as --features.path or in the environment's "
                f"{INCEPTION_VARIABLE}"
            )
        if not self.own:
            _check_sha256(Path(path), INCEPTION_SHA256)
        params = _filled(module, Path(path), _inception_source)
        name = "inception" if self.grid == "tensorflow" else f"inception_{self.grid}"
        name += "_own" if self.own else ""
        return feature_network(name, module, params, batch_size=self.batch_size)


@dataclass(frozen=True)
class ResNet20:
    """A residual network for CIFAR of your own, as PyTorch saved it. Figures are not called FID."""

    path: str | None = None
    """The weights' file: .safetensors, .pth or .pt, with the names of the usual CIFAR networks
    (conv1, bn1, layer1.0.conv1, ..., linear)."""
    blocks: int = 3
    """Blocks of each width: 3 for 20 layers, 9 for 56."""
    classes: int = 10
    """Classes that it knows."""
    batch_size: int = 256
    """Images in one compiled call."""

    def load(self, dataset: Any = None) -> FeatureNetwork:
        """The network; the data set is not looked at.

        Raises:
            FileNotFoundError: no such file.
            ValueError: tensors that do not fit.
        """
        if not self.path or not Path(self.path).is_file():
            raise FileNotFoundError(
                f"no weights of a CIFAR network{f' at {self.path}' if self.path else ''}: give "
                "their file as --features.path"
            )
        module = CIFARResNet(blocks=self.blocks, classes=self.classes)
        params = _filled(module, Path(self.path), Source)
        name = f"resnet{6 * self.blocks + 2}"
        return feature_network(name, module, params, batch_size=self.batch_size)


def _filled(module: nn.Module, path: Path, locate: Any) -> dict:
    images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    return fill(shapes, _tensors(path), locate=locate, harmless=_HARMLESS, where=str(path))


def _tensors(path: Path) -> Tensors:
    return SafetensorsFiles(path) if path.suffix == ".safetensors" else PickledCheckpoint(path)


def _inception_source(key: str) -> Source:
    """`branch5x5.1.` is `branch5x5_1.` in the file: numbers of layers, not of a list."""
    return Source(re.sub(r"(branch\w+)\.(\d)\.", r"\1_\2.", key))


def _check_sha256(path: Path, prefix: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix):
        raise ValueError(
            f"{path}: expected {INCEPTION_FILE} with SHA-256 {prefix}..., got {found[:8]}...; "
            "download it again, or say --features.own True for weights of your own"
        )
