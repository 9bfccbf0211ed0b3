"""The state of a run, and how it begins."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffax.compilation import compiler_options
from diffax.noun import noun
from diffax.training.devices import state_shardings


@noun
class TrainState:
    """Everything that a run carries from step to step.

    Attributes:
        trainable: what the objective learns.
        opt_state: the optimizer's.
        ema: name -> averages of `trainable`.
        step: int32, steps done.
        skipped: int32, those of them left out because a number was not finite.
        key: the run's one random key; step n uses `fold_in(key, n)`.
    """

    trainable: Any
    opt_state: Any
    ema: dict[str, Any]
    step: Array
    skipped: Array
    key: Array


Begin = Callable[[Array, Any], tuple[TrainState, Any]]


def make_begin(objective: Any, batch: Any, optimizer: Any, ema: Any) -> Begin:
    """The function `(seed, loaded) -> (state, frozen)`, to be compiled where both shall live.

    Args:
        objective: see `diffax.objectives.Objective`.
        batch: shapes of an example batch.
        optimizer: `trainable -> optax transformation`.
        ema: an `EMAConfig`.
    """

    def begin(seed: Array, loaded: Any) -> tuple[TrainState, Any]:
        init_key, key = jax.random.split(jax.random.key(seed))
        trainable, frozen = objective.init(init_key, batch, loaded)
        zero = jnp.zeros((), jnp.int32)
        opt_state = optimizer(trainable).init(trainable)
        state = TrainState(trainable, opt_state, ema.init(trainable), zero, zero, key)
        return state, frozen

    return jax.jit(begin, inline=True)  # traced once for shapes and arrays


def abstract(begin: Begin, loaded: Any, mesh: Mesh) -> tuple[TrainState, Any]:
    """Shapes, types and places of state and frozen parts, without making them."""
    shapes = jax.eval_shape(begin, jax.ShapeDtypeStruct((), jnp.uint32), loaded)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_shardings(shapes, mesh),
    )


def begun(
    begin: Begin,
    seed: int,
    loaded: Any,
    places: tuple[TrainState, Any],
    beside: Callable[[], Any] | None = None,
) -> Any:
    """State and frozen parts at step 0, every array made on the device that keeps it.

    Args:
        begin: of `make_begin`.
        seed: of the run.
        loaded: what was read from files.
        places: shapes and places of what is made.
        beside: called meanwhile; XLA compiles the draws of a U-Net for seconds, mostly on one core.
    """
    arguments = jnp.uint32(seed), _unbound(loaded, places)
    if beside is None:
        return _compiled(begin, places)(*arguments)
    # Traced here, where the caller's settings of jax hold; they are a thread's own.
    lowered = _compiled(begin, places).lower(*arguments)
    with ThreadPoolExecutor(1) as other:
        made = other.submit(lambda: lowered.compile()(*arguments))
        beside()
        return made.result()


def frozen_parts(begin: Begin, seed: int, loaded: Any, places: Any) -> Any:
    """The frozen parts alone, the same as `begun` gives."""
    if not jax.tree.leaves(places):
        return places
    own = _compiled(lambda seed, loaded: begin(seed, loaded)[1], places)
    return own(jnp.uint32(seed), _unbound(loaded, places))


def _unbound(loaded: Any, places: Any) -> Any:
    """What was loaded, free of other devices than these: another run's arrays are bound to some."""
    devices = jax.tree.leaves(places)[0].sharding.device_set

    def free(leaf: Any) -> Any:
        bound = isinstance(leaf, jax.Array) and leaf.committed and leaf.is_fully_addressable
        return np.asarray(leaf) if bound and leaf.sharding.device_set != devices else leaf

    return jax.tree.map(free, loaded)


def _compiled(function: Callable, places: Any) -> jax.stages.Wrapped:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, places)
    options = compiler_options(quick=True)  # it runs once
    return jax.jit(function, out_shardings=shardings, compiler_options=options)
