"""One training step: what it computes, and what it does with numbers that went wrong."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import parameterization, schedules
from diffax.models.condition import NOTHING, labels
from diffax.training import EMAConfig, LossConfig, OptimizerConfig
from diffax.training.state import make_init
from diffax.training.step import Problem, drop_labels, make_step, model_range


class Linear(nn.Module):
    """Predicts from x, t and a label, linearly."""

    num_classes: int | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, t, condition=NOTHING, *, train=False):
        """Apply."""
        h = nn.Dense(x.shape[-1])(jnp.concatenate([x, t[:, None] / 1000], axis=-1))
        if self.num_classes is not None:
            label = labels(condition, t.shape[0], self.num_classes)
            h = h + nn.Embed(self.num_classes + 1, x.shape[-1])(label)
        return nn.Dropout(self.dropout)(h, deterministic=not train)


def problem_of(model, **changes) -> Problem:
    fields = dict(
        model=model,
        num_classes=model.num_classes or 0,
        schedule=schedules.cosine(1000),
        parameterization=parameterization.Eps(),
        loss=LossConfig(),
        optimizer=OptimizerConfig(name="sgd", b1=0.0, learning_rate=0.1).build(
            steps=10, batch_size=8
        ),
        ema=EMAConfig(decays=(0.9,)),
        batch_size=8,
    )
    return Problem(**fields | changes)


def start(problem: Problem, seed: int = 0):
    return make_init(problem.model, (2,), problem.optimizer, problem.ema)(jnp.uint32(seed))


def batch_of(seed: int = 0, size: int = 8, label: bool = False) -> dict:
    x = jax.random.normal(jax.random.key(seed), (size, 2))
    return {"x": x} | ({"label": jnp.arange(size) % 3} if label else {})


def test_a_step_goes_downhill_and_counts():
    problem = problem_of(Linear())
    step = jax.jit(make_step(problem))
    state = start(problem)
    losses = []
    for i in range(60):
        state, metrics = step(state, batch_of(i, 64))
        losses.append(float(metrics["loss"]))
    assert int(state.step) == 60 and int(state.skipped) == 0
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_metrics_are_what_they_say():
    problem = problem_of(Linear())
    before = start(problem)
    after, metrics = jax.jit(make_step(problem))(before, batch_of())
    moved = jax.tree.map(jnp.subtract, after.params, before.params)

    def norm(tree):
        return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))

    assert float(metrics["update_ratio"]) == pytest.approx(norm(moved) / norm(before.params), 1e-4)
    clipped = min(float(metrics["gradient_norm"]), 1.0)  # SGD at 0.1 after clipping at 1
    assert norm(moved) == pytest.approx(0.1 * clipped, rel=1e-4)
    assert float(metrics["bucket_count"].sum()) == 8
    assert float(metrics["bucket_sum"].sum()) / 8 == pytest.approx(float(metrics["loss"]), rel=1e-5)


@pytest.mark.parametrize("times, schedule", [
    ("uniform", schedules.cosine(1000)), ("stratified", schedules.RectifiedFlow()),
    ("log_normal", schedules.EDM()), ("logit_normal", schedules.RectifiedFlow()),
    ("antithetic", schedules.linear(50)),
])  # fmt: skip
def test_each_quartile_of_time_gets_a_quarter(times, schedule):
    kind = parameterization.EDM() if times == "log_normal" else parameterization.V()
    problem = problem_of(
        Linear(), loss=LossConfig(times=times), schedule=schedule, parameterization=kind
    )
    _, metrics = jax.jit(make_step(problem))(start(problem), batch_of(size=4000))
    share = np.asarray(metrics["bucket_count"]) / 4000
    np.testing.assert_allclose(share, 0.25, atol=0.035)  # 5 standard deviations of 4,000 draws


def test_the_step_number_decides_the_noise():
    problem = problem_of(Linear())
    step = jax.jit(make_step(problem))
    state = start(problem)
    again = step(state, batch_of())[1]["loss"]
    assert step(state, batch_of())[1]["loss"] == again
    later = dataclasses.replace(state, step=jnp.int32(1))
    assert step(later, batch_of())[1]["loss"] != again


def test_parts_of_a_batch_add_up():
    # Without chance in time and noise the parts' mean gradient is the batch's.
    class Fixed(parameterization.Eps):
        def target(self, x0, eps, point):
            return jnp.zeros_like(x0)

        def network_input(self, x, point):
            return jnp.ones_like(x), jnp.zeros_like(point.t)

    def run(accumulate):
        problem = problem_of(Linear(), accumulate=accumulate, parameterization=Fixed())
        return jax.jit(make_step(problem))(start(problem), batch_of(size=24))

    (whole, a), (parts, b) = run(1), run(3)
    assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-6)
    assert float(b["bucket_count"].sum()) == 24
    for x, y in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


def test_every_part_has_its_own_noise():
    problem = problem_of(Linear(), accumulate=2)
    same = {"x": jnp.ones((8, 2))}
    _, two = jax.jit(make_step(problem))(start(problem), same)
    halves = problem_of(Linear(), batch_size=4)
    _, one = jax.jit(make_step(halves))(start(halves), {"x": jnp.ones((4, 2))})
    assert float(two["loss"]) != pytest.approx(float(one["loss"]), rel=1e-3)


@pytest.mark.parametrize("skip", [True, False])
def test_numbers_that_are_not_finite(skip):
    problem = problem_of(Linear(), skip_nonfinite=skip)
    step = jax.jit(make_step(problem))
    state, _ = step(start(problem), batch_of())
    bad = {"x": batch_of()["x"].at[0, 0].set(jnp.nan)}
    after, metrics = step(state, bad)
    assert not metrics["finite"] and int(after.step) == 2
    untouched = all(
        jnp.array_equal(x, y)
        for x, y in zip(
            jax.tree.leaves((after.params, after.opt_state, after.ema)),
            jax.tree.leaves((state.params, state.opt_state, state.ema)),
            strict=True,
        )
    )
    assert untouched == skip
    assert int(after.skipped) == (1 if skip else 0)


def test_pictures_become_minus_one_to_one():
    got = model_range(jnp.array([[0, 255, 127]], jnp.uint8))
    np.testing.assert_allclose(got, [[-1, 1, 127 / 127.5 - 1]], atol=1e-7)
    points = jnp.array([[3.0]])
    assert model_range(points) is points


def test_labels_are_dropped_as_often_as_asked():
    labels = jnp.zeros((20_000,), jnp.int32)
    dropped = drop_labels(jax.random.key(0), labels, 7, 0.1)
    assert float((dropped == 7).mean()) == pytest.approx(0.1, abs=0.01)
    assert set(np.unique(dropped)) == {0, 7}
    assert drop_labels(jax.random.key(0), labels, 7, 0.0) is labels


def test_labels_reach_the_network_and_the_null_label_is_learned():
    model = Linear(num_classes=3)
    problem = problem_of(model, loss=LossConfig(label_dropout=1.0))
    before = start(problem)
    after, _ = jax.jit(make_step(problem))(before, batch_of(label=True))

    def table(state):
        return state.params["params"]["Embed_0"]["embedding"]

    moved = np.abs(np.asarray(table(after) - table(before))).sum(axis=1)
    assert moved[3] > 0 and (moved[:3] == 0).all()
    kept = problem_of(model, loss=LossConfig(label_dropout=0.0))
    after, _ = jax.jit(make_step(kept))(before, batch_of(label=True))
    moved = np.abs(np.asarray(table(after) - table(before))).sum(axis=1)
    assert moved[3] == 0 and (moved[:3] > 0).all()


def test_dropout_is_on_and_follows_the_step():
    problem = problem_of(Linear(dropout=0.5))
    step = jax.jit(make_step(problem))
    state = start(problem)
    dry = jax.jit(make_step(problem_of(Linear())))
    assert step(state, batch_of())[1]["loss"] != dry(state, batch_of())[1]["loss"]
