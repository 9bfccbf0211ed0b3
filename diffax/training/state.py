"""The state of a run, and how it begins."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from diffax.noun import noun
from diffax.training.devices import state_shardings


@noun
class TrainState:
    """Everything that a run carries from step to step.

    Attributes:
        params: what `model.init` returned.
        opt_state: the optimizer's.
        ema: name -> averaged parameters.
        step: int32, steps done.
        skipped: int32, those of them left out because a number was not finite.
        key: the run's one random key; step n uses `fold_in(key, n)`.
    """

    params: Any
    opt_state: Any
    ema: dict[str, Any]
    step: Array
    skipped: Array
    key: Array


def make_init(model: Any, shape: tuple[int, ...], optimizer: Any, ema: Any):
    """The function `seed -> TrainState`, to be compiled where the state shall live.

    Args:
        model: a Flax module.
        shape: of one example.
        optimizer: an optax transformation.
        ema: an `EMAConfig`.
    """

    def init(seed: Array) -> TrainState:
        init_key, key = jax.random.split(jax.random.key(seed))
        params = model.init(init_key, jnp.zeros((1, *shape)), jnp.zeros((1,)))
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, optimizer.init(params), ema.init(params), zero, zero, key)

    return init


def abstract_state(init, mesh: Mesh) -> TrainState:
    """Shapes, types and places of a state, without making it."""
    shapes = jax.eval_shape(init, jax.ShapeDtypeStruct((), jnp.uint32))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_shardings(shapes, mesh),
    )


def initial_state(init, seed: int, abstract: TrainState) -> TrainState:
    """The state at step 0, every part made on the device that keeps it."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    # It runs once: on a CPU, compiling it well takes four times as long for the same numbers.
    on_cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    made = jax.jit(init, out_shardings=shardings, compiler_options=options)
    return made(jnp.uint32(seed))
