"""Feature networks: images in, what a frozen network says of them out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffax.compilation import jit
from diffax.evaluation.shares import gathered, share
from diffax.image_range import to_uint8
from diffax.models import BoundModule, Features, fingerprint
from diffax.noun import noun, structure


@noun
class FeatureNetwork:
    """A frozen network that examples are looked at with.

    Attributes:
        name: for reports, such as "inception".
        fingerprint: SHA-256 over the weights and how the network prepares its input: two networks
            with the same one give the same features.
        network: `examples -> Features`.
        batch_size: examples in one compiled call, shared by the devices of this process.

    Example:
        >>> from diffax.models import SmallClassifier
        >>> module = SmallClassifier(classes=3)
        >>> images = np.zeros((5, 4, 4, 1), np.uint8)
        >>> network = feature_network("tiny", module, module.init(jax.random.key(0), images))
        >>> network(images).pooled.shape
        (5, 64)
    """

    name: str = structure()
    fingerprint: str = structure()
    network: BoundModule
    batch_size: int = structure(default=64)

    def __call__(self, examples: Any) -> Features:
        """The features of any number of examples.

        Args:
            examples: images `[B, H, W, C]`, uint8 or floating point in [-1, 1] (rounded to 8 bits),
                or vectors `[B, D]`.

        Returns:
            `Features` of NumPy arrays, float32; the same for any batch size and device count, to
            rounding.

        Raises:
            ValueError: another shape, or numbers that are not finite.
        """
        examples = checked(examples)
        sharding = _over_devices()
        devices = len(sharding.device_set)
        size = -(-self.batch_size // devices) * devices
        done, running = [], None
        for start in range(0, len(examples), size):
            # A short last batch is filled up, so that it runs the same program.
            rows = np.minimum(np.arange(start, start + size), len(examples) - 1)
            started = _apply(self.network, jax.device_put(examples[rows], sharding))
            if running is not None:
                done.append(jax.device_get(running))
            running = started
        done.append(jax.device_get(running))
        whole = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(examples)], *done)
        if not all(np.isfinite(part).all() for part in jax.tree.leaves(whole)):
            raise ValueError(f"features of {self.name} are not finite; its weights are damaged")
        return whole


def feature_network(
    name: str, module: nn.Module, params: Any, *, batch_size: int = 64
) -> FeatureNetwork:
    """A network with its parameters, placed on all devices of this process.

    Args:
        name: for reports.
        module: `examples -> Features`.
        params: `{"params": ...}`.
        batch_size: examples in one compiled call.

    Raises:
        ValueError: a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    everywhere = NamedSharding(_over_devices().mesh, PartitionSpec())
    network = BoundModule(module, jax.device_put(params, everywhere))
    settings = {
        f.name: getattr(module, f.name)
        for f in dataclasses.fields(module)
        if f.name not in ("parent", "name")
    }
    told = f"{type(module).__name__} {sorted(settings.items())} {fingerprint(params)}"
    return FeatureNetwork(name, hashlib.sha256(told.encode()).hexdigest(), network, batch_size)


def features_of(network: FeatureNetwork, blocks: Iterable[Any]) -> Features:
    """The features of a stream of examples, all in memory at once.

    Args:
        network: what to look with.
        blocks: examples, some at a time, as `FeatureNetwork` takes them.

    Raises:
        ValueError: no examples, or what `FeatureNetwork` refuses.
    """
    parts = [network(block) for block in blocks]
    if not parts:
        raise ValueError("expected examples, got none")
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def features_over_processes(network: FeatureNetwork, examples: Any) -> Features:
    """The features of examples that every process has; each looks at a part, all get all.

    Args:
        network: what to look with, the same in every process.
        examples: as `FeatureNetwork` takes them, the same in every process, which all call this.
    """
    if jax.process_count() == 1:
        return network(examples)
    found = network(np.asarray(examples)[share(len(examples))])
    return gathered(found, len(examples))


def checked(examples: Any) -> np.ndarray:
    """Images as uint8 `[B, H, W, C]`, vectors as float32 `[B, D]`.

    Raises:
        ValueError: another shape or type, none at all, or numbers that are not finite.
    """
    examples = np.asarray(examples)
    if examples.ndim not in (2, 4) or 0 in examples.shape:
        raise ValueError(
            f"expected images [B, H, W, C] or vectors [B, D], got shape {list(examples.shape)}"
        )
    if examples.dtype == np.uint8 and examples.ndim == 4:
        return examples
    if not np.issubdtype(examples.dtype, np.floating):
        raise ValueError(f"expected uint8 images or floating-point numbers, got {examples.dtype}")
    bad = np.flatnonzero(~np.isfinite(examples.reshape(len(examples), -1)).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{bad.size} of {len(examples)} examples hold NaN or infinity, the first is number "
            f"{bad[0]}; a metric of them would mean nothing"
        )
    return to_uint8(examples) if examples.ndim == 4 else examples.astype(np.float32)


@jit
def _apply(network: BoundModule, examples: jax.Array) -> Features:
    return network(examples)


def _over_devices() -> NamedSharding:
    """Rows over the devices of this process: each process looks at examples of its own."""
    mesh = Mesh(np.array(jax.local_devices()), ("data",))
    return NamedSharding(mesh, PartitionSpec("data"))
