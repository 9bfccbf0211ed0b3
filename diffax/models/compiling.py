"""How hard the compiler tries: on a CPU, waiting for it is the first thing that a user does."""

from __future__ import annotations

import os
from typing import Any

import jax

_LEVEL = "xla_backend_optimization_level"


def llvm_level(level: int) -> dict[str, Any] | None:
    """`compiler_options` of `jax.jit` for programs that are not worth every optimisation.

    They matter on CPUs, where LLVM takes most of the time: 0 for what runs once; 1 for what is
    mostly convolutions and matrix products, which are library calls and run as fast as ever. A
    level in `XLA_FLAGS` goes first.

    Args:
        level: of LLVM, 0 to 3; XLA's own is 3.

    Returns:
        The options; None for XLA's own.

    Example:
        >>> double = jax.jit(lambda x: 2 * x, compiler_options=llvm_level(0))
        >>> float(double(1.0))
        2.0
    """
    if jax.default_backend() != "cpu" or _LEVEL in os.environ.get("XLA_FLAGS", ""):
        return None
    return {_LEVEL: level}


def init(network: Any, key: jax.Array, *inputs: Any) -> Any:
    """The same parameters as `network.init(key, *inputs)`, compiled as one program in little time.

    `jax.jit(network.init)` spends 40 seconds of a CPU on optimising a small U-Net's draws, which
    run once; the uncompiled call sends every layer to the device by itself.

    Args:
        network: a Flax module, such as `UNet()`.
        key: a random key.
        inputs: what the network is called with: arrays or their shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffax.models import StepMLP
        >>> params = init(StepMLP(), jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1))
        >>> params["params"]["embedding_0"].shape
        (100, 128)
    """
    zeros = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), inputs)
    # The inputs' values make no difference to a network's parameters.
    return jax.jit(lambda key: network.init(key, *zeros), compiler_options=llvm_level(0))(key)
