"""One mesh for one CPU, eight GPUs or a pod, and who holds what on it."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

_SMALL = 1024  # elements below which an array is not worth cutting


def make_mesh(fsdp: int = 1) -> Mesh:
    """All devices of all processes, as a grid ("data", "fsdp").

    Args:
        fsdp: devices that share one copy of the state; -1: all.

    Raises:
        ValueError: the devices cannot be grouped like that.
    """
    # Sorted by process, so that a process's devices hold consecutive rows of a batch: the rows
    # that it loads.
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    fsdp = len(devices) if fsdp == -1 else fsdp
    if len(devices) % fsdp:
        raise ValueError(
            f"train.fsdp = {fsdp} does not divide the {len(devices)} devices there are; "
            f"use one of {', '.join(str(n) for n in _divisors(len(devices)))}, or -1 for all"
        )
    grid = np.array(devices).reshape(-1, fsdp)
    # Flax's layers need the compiler to place what is in between.
    return Mesh(grid, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def batch_sharding(mesh: Mesh, *, stacked: bool = False) -> NamedSharding:
    """Rows of a batch [B, ...], or of a stack of them [k, B, ...], over all devices."""
    rows = ("data", "fsdp")
    return NamedSharding(mesh, P(None, rows) if stacked else P(rows))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, P())


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Where every array of a state lives.

    Args:
        state: tree of arrays or of `jax.ShapeDtypeStruct`.
        mesh: with an axis "fsdp" of n devices.

    Returns:
        Tree of shardings: the largest axis that n divides is cut into n parts (the last such one
        where several are equal); what is small or cannot be cut is on every device.
    """
    n = mesh.shape["fsdp"]

    def place(leaf: Any) -> NamedSharding:
        axes = [a for a, size in enumerate(leaf.shape) if size % n == 0 and size >= n]
        if n == 1 or not axes or math.prod(leaf.shape) < _SMALL:
            return replicated(mesh)
        axis = max(axes, key=lambda a: (leaf.shape[a], a))
        return NamedSharding(mesh, P(*[None] * axis, "fsdp"))

    return jax.tree.map(place, state)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh, batch_size: int) -> dict[str, jax.Array]:
    """This process's rows of a stack of batches, as its part of arrays over the whole mesh.

    Args:
        batch: arrays [k, B / processes, ...].
        mesh: all devices.
        batch_size: B.

    Returns:
        Arrays [k, B, ...]. No process waits for another one.
    """
    sharding = batch_sharding(mesh, stacked=True)
    return {
        name: jax.make_array_from_process_local_data(
            sharding, value, (value.shape[0], batch_size, *value.shape[2:])
        )
        for name, value in batch.items()
    }


def check_batch(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Refuses a batch that the devices cannot share evenly."""
    shares = mesh.size * accumulate
    if batch_size % shares:
        parts = f" x {accumulate} parts (train.accumulate)" if accumulate > 1 else ""
        raise ValueError(
            f"train.batch_size {batch_size} cannot be shared evenly by {mesh.size} devices{parts}; "
            f"use a multiple of {shares}, for instance {max(1, batch_size // shares) * shares}"
        )


def bytes_per_device(state: Any, shardings: Any) -> int:
    """Bytes of a state's arrays on one device."""
    sizes = jax.tree.map(
        lambda leaf, s: math.prod(s.shard_shape(leaf.shape)) * _itemsize(leaf), state, shardings
    )
    return sum(jax.tree.leaves(sizes))


def _itemsize(leaf: Any) -> int:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return 8
    return np.dtype(leaf.dtype).itemsize


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
