"""One training step: what it computes, and what it does with numbers that went wrong."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.objectives import Mean
from diffax.training import SGD, EMAConfig, Optimizer
from diffax.training.state import TrainState
from diffax.training.step import Problem, make_step

TRUTH = jnp.arange(6.0).reshape(3, 2) / 6


def loss(trainable, frozen, batch, key):
    """Linear regression on a frozen scale, with noise on the answer as large as `noise` says."""
    noise = jax.random.normal(key, batch["x"].shape[:1])[:, None] * frozen["noise"]
    answer = (batch["x"] @ trainable["w"] + trainable["b"][None]) * frozen["scale"] + noise
    error = jnp.mean((answer - batch["x"] @ TRUTH) ** 2, axis=1)
    positive = (batch["x"][:, 0] > 0).astype(jnp.float32)
    inside = Mean(jnp.sum(error * positive), jnp.sum(positive))
    return jnp.mean(error), {"loss_positive": inside, "largest": jnp.max(error)}


def problem_of(**changes) -> Problem:
    fields = dict(
        loss=loss,
        optimizer=Optimizer(SGD(momentum=0.0), learning_rate=0.1).build({}, steps=10, batch_size=8),
        ema=EMAConfig(decays=(0.9,)),
        batch_size=8,
    )
    return Problem(**fields | changes)


def start(problem: Problem, seed: int = 0) -> TrainState:
    params = {"w": jnp.zeros((3, 2)), "b": jnp.ones((2,))}
    zero = jnp.zeros((), jnp.int32)
    opt_state, ema = problem.optimizer.init(params), problem.ema.init(params)
    return TrainState(params, opt_state, ema, zero, zero, jax.random.key(seed))


def frozen(noise: float = 0.0) -> dict:
    return {"scale": jnp.float32(1.0), "noise": jnp.float32(noise)}


def batch_of(seed: int = 0, size: int = 8) -> dict:
    return {"x": jax.random.normal(jax.random.key(seed), (size, 3))}


def test_a_step_goes_downhill_and_counts():
    problem = problem_of()
    step = jax.jit(make_step(problem))
    state = start(problem)
    losses = []
    for i in range(60):
        state, metrics = step(state, frozen(), batch_of(i, 64))
        losses.append(float(metrics["loss"]))
    assert int(state.step) == 60 and int(state.skipped) == 0
    assert losses[-1] < 0.01 * losses[0]
    np.testing.assert_allclose(state.trainable["w"], TRUTH, atol=0.1)


def test_metrics_are_what_they_say():
    problem = problem_of()
    before = start(problem)
    after, metrics = jax.jit(make_step(problem))(before, frozen(), batch_of())
    moved = jax.tree.map(jnp.subtract, after.trainable, before.trainable)

    def norm(tree):
        return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))

    ratio = norm(moved) / norm(before.trainable)
    assert float(metrics["update_ratio"]) == pytest.approx(ratio, 1e-4)
    clipped = min(float(metrics["gradient_norm"]), 1.0)  # SGD at 0.1 after clipping at 1
    assert norm(moved) == pytest.approx(0.1 * clipped, rel=1e-4)
    positive = batch_of()["x"][:, 0] > 0
    assert float(metrics["loss_positive"].count) == int(positive.sum())


def test_the_step_number_decides_the_noise():
    problem = problem_of()
    step = jax.jit(make_step(problem))
    state = start(problem)
    again = step(state, frozen(1.0), batch_of())[1]["loss"]
    assert step(state, frozen(1.0), batch_of())[1]["loss"] == again
    later = dataclasses.replace(state, step=jnp.int32(1))
    assert step(later, frozen(1.0), batch_of())[1]["loss"] != again


def test_parts_of_a_batch_add_up():
    # Without chance the parts' mean gradient is the batch's.
    def run(accumulate):
        problem = problem_of(accumulate=accumulate)
        return jax.jit(make_step(problem))(start(problem), frozen(), batch_of(size=24))

    (whole, a), (parts, b) = run(1), run(3)
    assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-6)
    assert float(a["loss_positive"].count) == float(b["loss_positive"].count)
    assert float(a["loss_positive"].total) == pytest.approx(float(b["loss_positive"].total), 1e-5)
    for x, y in zip(
        jax.tree.leaves(whole.trainable), jax.tree.leaves(parts.trainable), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def test_every_part_has_its_own_noise():
    problem = problem_of(accumulate=2)
    _, two = jax.jit(make_step(problem))(start(problem), frozen(1.0), {"x": jnp.ones((8, 3))})
    halves = problem_of(batch_size=4)
    _, one = jax.jit(make_step(halves))(start(halves), frozen(1.0), {"x": jnp.ones((4, 3))})
    assert float(two["loss"]) != pytest.approx(float(one["loss"]), rel=1e-3)


@pytest.mark.parametrize("skip", [True, False])
def test_numbers_that_are_not_finite(skip):
    problem = problem_of(skip_nonfinite=skip)
    step = jax.jit(make_step(problem))
    state, _ = step(start(problem), frozen(), batch_of())
    bad = {"x": batch_of()["x"].at[0, 0].set(jnp.nan)}
    after, metrics = step(state, frozen(), bad)
    assert not metrics["finite"] and int(after.step) == 2
    untouched = all(
        jnp.array_equal(x, y)
        for x, y in zip(
            jax.tree.leaves((after.trainable, after.opt_state, after.ema)),
            jax.tree.leaves((state.trainable, state.opt_state, state.ema)),
            strict=True,
        )
    )
    assert untouched == skip
    assert int(after.skipped) == (1 if skip else 0)


def test_gradient_optimizer_and_averages_see_what_is_learned_only():
    problem = problem_of()
    after, _ = jax.jit(make_step(problem))(start(problem), frozen(), batch_of())
    for tree in (after.trainable, after.ema["decay_0.9"]):
        assert sorted(tree) == ["b", "w"]
    assert not any("scale" in str(path) for path, _ in jax.tree.leaves_with_path(after))
