"""One training step. It knows only the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from diffax.training.ema import EMAConfig
from diffax.training.norm import global_norm
from diffax.training.packing import unpack
from diffax.training.state import TrainState

Batch = dict[str, Array]
Metrics = dict[str, Any]
Loss = Callable[[Any, Any, Batch, Array], tuple[Array, Metrics]]
Step = Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]


@dataclass(frozen=True)
class Problem:
    """What a training step needs to know besides the state and the batch.

    Attributes:
        loss: `(trainable, frozen, batch, key) -> (scalar, metrics)`; metrics are float32 scalars,
            or `Mean`s of some examples.
        optimizer: an optax transformation.
        ema: which averages are kept.
        batch_size: of a step, over all devices.
        accumulate: parts into which a batch is cut.
        skip_nonfinite: leave out updates that are not finite.
    """

    loss: Loss
    optimizer: optax.GradientTransformation
    ema: EMAConfig
    batch_size: int
    accumulate: int = 1
    skip_nonfinite: bool = False


def make_step(problem: Problem) -> Step:
    """The pure function `step(state, frozen, batch) -> (state, metrics)`; the state may be packed.

    The metrics are the loss's own, and "loss", "finite", "gradient_norm", "update_ratio".
    """

    def with_loss(trainable: Any, frozen: Any, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        value, metrics = problem.loss(unpack(trainable), frozen, batch, key)
        return value, metrics | {"loss": value}

    loss_and_gradient = jax.value_and_grad(with_loss, has_aux=True)

    def step(state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if problem.accumulate == 1:
            (_, metrics), gradient = loss_and_gradient(state.trainable, frozen, batch, key)
        else:
            metrics, gradient = _accumulated(
                loss_and_gradient, state.trainable, frozen, batch, key, problem.accumulate
            )
        updates, opt_state = problem.optimizer.update(gradient, state.opt_state, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        # Averages advance by the updates that were made.
        made = state.step - state.skipped
        ema = problem.ema.update(state.ema, trainable, made, problem.batch_size)

        gradient_norm = global_norm(gradient)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(gradient_norm)
        skipped = state.skipped
        if problem.skip_nonfinite:
            trainable, opt_state, ema = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (trainable, opt_state, ema),
                (state.trainable, state.opt_state, state.ema),
            )
            skipped = skipped + jnp.where(finite, 0, 1)
        metrics = metrics | {
            "finite": finite,
            "gradient_norm": gradient_norm,
            "update_ratio": global_norm(updates) / global_norm(state.trainable),
        }
        return TrainState(trainable, opt_state, ema, state.step + 1, skipped, state.key), metrics

    return step


def _accumulated(
    loss_and_gradient: Callable[..., Any],
    trainable: Any,
    frozen: Any,
    batch: Batch,
    key: Array,
    parts: int,
) -> tuple[Metrics, Any]:
    """Metrics and mean gradient of a batch, a part at a time: as much memory as one part takes."""

    # Every part takes rows from all over the batch, so that all devices work on every part.
    def cut(leaf: Array) -> Array:
        return leaf.reshape(-1, parts, *leaf.shape[1:])

    batch = jax.tree.map(cut, batch)

    def one(i: Array) -> tuple[Metrics, Any]:
        part = jax.tree.map(lambda leaf: leaf[:, i], batch)
        key_of_part = jax.random.fold_in(key, i)
        (_, metrics), gradient = loss_and_gradient(trainable, frozen, part, key_of_part)
        return metrics, gradient

    def add(i: Array, total: tuple[Metrics, Any]) -> tuple[Metrics, Any]:
        return jax.tree.map(jnp.add, total, one(i))

    shapes = jax.eval_shape(one, jnp.int32(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    metrics, gradient = jax.lax.fori_loop(0, parts, add, zeros)
    # Of a `Mean` the parts' totals and counts add up; a scalar is the mean over the parts.
    metrics = {
        name: value if isinstance(value, tuple) else value / parts
        for name, value in metrics.items()
    }
    return metrics, jax.tree.map(lambda g: g / parts, gradient)
