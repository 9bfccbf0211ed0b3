"""One training step, and several of them in one compiled call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from diffax.losses import diffusion_loss
from diffax.parameterization import Parameterization
from diffax.schedules import Schedule
from diffax.training.devices import batch_sharding, replicated
from diffax.training.ema import EMAConfig
from diffax.training.noise import LossConfig
from diffax.training.state import TrainState

Batch = dict[str, Array]
Metrics = dict[str, Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]

BUCKETS = 4  # quartiles of the time


@dataclass(frozen=True)
class Problem:
    """What a training step needs to know besides the state and the batch.

    Attributes:
        model: a Flax module, called `(params, x, t, condition, train=True)`.
        num_classes: labels are 0 to num_classes - 1, and num_classes is the null label; 0: none.
        schedule: the noise schedule.
        parameterization: what the network is asked for.
        loss: time sampling, weighting, label dropout.
        optimizer: an optax transformation.
        ema: which averages are kept.
        batch_size: of a step, over all devices.
        accumulate: parts into which a batch is cut.
        skip_nonfinite: leave out updates that are not finite.
    """

    model: Any
    num_classes: int
    schedule: Schedule
    parameterization: Parameterization
    loss: LossConfig
    optimizer: optax.GradientTransformation
    ema: EMAConfig
    batch_size: int
    accumulate: int = 1
    skip_nonfinite: bool = False


def make_step(problem: Problem) -> Step:
    """The pure function `step(state, batch) -> (state, metrics)`.

    `batch` is `{"x": uint8 [B, H, W, C] or float32 [B, D], "label": int32 [B]}`; the metrics are
    float32 scalars, and [4] for the quartiles of the time.
    """
    loss_and_gradient = jax.value_and_grad(_make_loss(problem), has_aux=True)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if problem.accumulate == 1:
            (_, sums), gradient = loss_and_gradient(state.params, batch, key)
        else:
            sums, gradient = _accumulated(
                loss_and_gradient, state.params, batch, key, problem.accumulate
            )
        updates, opt_state = problem.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # Averages advance by the updates that were made.
        made = state.step - state.skipped
        ema = problem.ema.update(state.ema, params, made, problem.batch_size)

        gradient_norm = optax.global_norm(gradient)
        finite = jnp.isfinite(sums["loss"]) & jnp.isfinite(gradient_norm)
        skipped = state.skipped
        if problem.skip_nonfinite:
            params, opt_state, ema = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (params, opt_state, ema),
                (state.params, state.opt_state, state.ema),
            )
            skipped = skipped + jnp.where(finite, 0, 1)
        metrics = sums | {
            "finite": finite,
            "gradient_norm": gradient_norm,
            "update_ratio": optax.global_norm(updates) / optax.global_norm(state.params),
        }
        return TrainState(params, opt_state, ema, state.step + 1, skipped, state.key), metrics

    return step


def _make_loss(problem: Problem):
    times, weighting = problem.loss.build_times(), problem.loss.build_weighting()

    def loss(params: Any, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        label_key, noise_key, dropout_key = jax.random.split(key, 3)

        def apply(params, x, t, condition):
            return problem.model.apply(
                params, x, t, condition, train=True, rngs={"dropout": dropout_key}
            )

        condition = {}
        if problem.num_classes:
            label = drop_labels(
                label_key, batch["label"], problem.num_classes, problem.loss.label_dropout
            )
            condition = {"label": label}
        value, parts = diffusion_loss(
            apply,
            params,
            model_range(batch["x"]),
            noise_key,
            schedule=problem.schedule,
            parameterization=problem.parameterization,
            times=times,
            weighting=weighting,
            condition=condition,
        )
        point = problem.schedule.at(parts["t"])
        rank = problem.loss.time_rank(point, problem.schedule)
        bucket = jnp.clip(jnp.floor(rank * BUCKETS), 0, BUCKETS - 1)
        in_bucket = (bucket[:, None] == jnp.arange(BUCKETS)[None, :]).astype(jnp.float32)
        metrics = {
            "loss": value,
            "bucket_sum": jnp.sum(in_bucket * parts["mse"][:, None], axis=0),
            "bucket_count": jnp.sum(in_bucket, axis=0),
        }
        return value, metrics

    return loss


def _accumulated(loss_and_gradient, params: Any, batch: Batch, key: Array, parts: int):
    """Metrics and mean gradient of a batch, a part at a time: as much memory as one part takes."""

    # Every part takes rows from all over the batch, so that all devices work on every part.
    def cut(leaf: Array) -> Array:
        return leaf.reshape(-1, parts, *leaf.shape[1:])

    batch = jax.tree.map(cut, batch)

    def add(i: Array, total):
        part = jax.tree.map(lambda leaf: leaf[:, i], batch)
        (_, metrics), gradient = loss_and_gradient(params, part, jax.random.fold_in(key, i))
        return jax.tree.map(jnp.add, total, (metrics, gradient))

    part = jax.tree.map(lambda leaf: leaf[:, 0], batch)
    (_, metrics), gradient = jax.eval_shape(loss_and_gradient, params, part, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (metrics, gradient))
    metrics, gradient = jax.lax.fori_loop(0, parts, add, zeros)
    gradient = jax.tree.map(lambda g: g / parts, gradient)
    return metrics | {"loss": metrics["loss"] / parts}, gradient


def model_range(x: Array) -> Array:
    """uint8 pictures as float32 in [-1, 1]; points as they are."""
    return x.astype(jnp.float32) / 127.5 - 1 if x.dtype == jnp.uint8 else x


def drop_labels(key: Array, label: Array, null: int, probability: float) -> Array:
    """Labels [B], each replaced by null with a probability (Ho & Salimans 2022, alg. 1)."""
    if probability == 0:
        return label
    return jnp.where(jax.random.bernoulli(key, probability, label.shape), null, label)


def make_call(step: Step, abstract: TrainState, batches: Any, mesh: Mesh):
    """Several training steps as one compiled call, the state donated.

    Args:
        step: one of them.
        abstract: the state's shapes and places.
        batches: the stack's shapes, [k, B, ...].
        mesh: all devices.

    Returns:
        The jitted function `(state, batches [k, B, ...], count, stop [devices]) -> (state,
        metrics [k, ...], any(stop))`: it makes the first `count` <= k steps. `count` is traced: one
        program serves calls of every length, so that where calls are cut changes no bit of the
        result. Metrics beyond `count` are zero.
    """
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    length = jax.tree.leaves(batches)[0].shape[0]

    def call(state: TrainState, batches: Batch, count: Array, stop: Array):
        one = jax.tree.map(lambda leaf: leaf[0], batches)
        if length == 1:
            state, metrics = step(state, one)
            return state, jax.tree.map(lambda m: m[None], metrics), jnp.any(stop > 0)
        shapes = jax.eval_shape(step, state, one)[1]
        empty = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

        def body(i: Array, carry):
            state, metrics = carry
            batch = jax.tree.map(lambda leaf: leaf[i], batches)
            state, new = step(state, batch)
            return state, jax.tree.map(lambda m, n: m.at[i].set(n), metrics, new)

        state, metrics = jax.lax.fori_loop(0, count, body, (state, empty))
        return state, metrics, jnp.any(stop > 0)

    return jax.jit(
        call,
        in_shardings=(places, batch_sharding(mesh, stacked=True), replicated(mesh), None),
        out_shardings=(places, replicated(mesh), replicated(mesh)),
        donate_argnums=0,
    )
