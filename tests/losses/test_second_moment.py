"""Times drawn by the loss's second moment: without bias, with the least variance, as learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, schedules
from diffax.losses import SecondMoment

TABLE, FLOW = schedules.linear(100), schedules.RectifiedFlow()
ROOTS = jnp.asarray([1.0, 2.0, 0.5, 8.0, 4.0])  # of the second moments of five parts of time


def knowing(count=20.0, uniform=0.0):
    times = SecondMoment(bins=5, uniform=uniform)
    return times.with_params({"moment": ROOTS**2, "count": jnp.full(5, count)})


@pytest.mark.slow
def test_parts_are_drawn_by_the_root_of_their_second_moment():
    t = np.asarray(knowing()(jax.random.key(0), TABLE, 10_000).t)
    share = np.histogram(t, bins=5, range=(0, 100))[0] / len(t)
    np.testing.assert_allclose(share, ROOTS / ROOTS.sum(), atol=1e-3)  # strata leave next to none
    t = np.asarray(knowing(count=9.0)(jax.random.key(0), TABLE, 10_000).t)
    share = np.histogram(t, bins=5, range=(0, 100))[0] / len(t)
    np.testing.assert_allclose(share, 0.2, atol=1e-3)  # too little is known


@pytest.mark.parametrize("steps", [pytest.param(100, marks=pytest.mark.slow), 7])
def test_importance_undoes_the_choice_for_every_step_of_a_table(steps):
    """`E[f(t) / p(t)]` is the plain mean of f, exactly, also where parts cut steps in two."""
    table, times = schedules.linear(steps), knowing(uniform=0.1)
    point = table.at(jnp.arange(steps))
    drawn = times(jax.random.key(1), table, 200_000).t.astype(int)
    share = np.bincount(drawn, minlength=steps) / 200_000
    np.testing.assert_allclose(share * times.importance(point, table) * steps, 1, atol=2e-2)


@pytest.mark.slow
def test_of_a_continuous_schedule_too_and_with_the_least_variance():
    def loss(t):  # as its moments say, but for a slope within the parts
        return ROOTS[jnp.clip((t * 5).astype(int), 0, 4)] * (1 + 0.1 * jnp.sin(30 * t))

    exact = float(loss(jnp.linspace(0, 1, 100_001)).mean())
    times = knowing()
    point = times(jax.random.key(0), FLOW, 20_000)
    each = np.asarray(loss(point.t) * times.importance(point, FLOW))
    plain = np.asarray(loss(losses.Uniform()(jax.random.key(0), FLOW, 20_000).t))
    assert each.mean() == pytest.approx(exact, rel=5e-3)
    assert each.std() < 0.1 * plain.std()


def test_ranks_of_drawn_times_are_uniform():
    for schedule in (TABLE, FLOW):
        point = knowing()(jax.random.key(0), schedule, 4000)
        rank = np.sort(np.asarray(knowing().rank(point, schedule)))
        assert np.abs(rank - (np.arange(4000) + 0.5) / 4000).max() < 0.03


def test_second_moments_are_found_out():
    times = SecondMoment(bins=2, decay=0.5).with_params(SecondMoment(bins=2).init())
    point = TABLE.at(jnp.asarray([3, 10, 20]))
    once = times.after(point, TABLE, jnp.asarray([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(once["moment"], [14 / 3, 0], rtol=1e-6)
    np.testing.assert_array_equal(once["count"], [3, 0])
    point = TABLE.at(jnp.asarray([4, 90, 5]))
    twice = times.with_params(once).after(point, TABLE, jnp.asarray([2.0, 5.0, 4.0]))
    # Two values came, so a quarter is kept; of the other part the first one is all there is.
    np.testing.assert_allclose(twice["moment"], [14 / 3 / 4 + 10 * 3 / 4, 25], rtol=1e-6)
    np.testing.assert_array_equal(twice["count"], [5, 1])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SecondMoment(bins=0), "bins should be .* >= 1, got 0"),
        (lambda: SecondMoment(decay=1.0), r"decay should be .* got 1\.0"),
        (lambda: SecondMoment()(jax.random.key(0), schedules.EDM(), 2), "use LogNormal times"),
        (lambda: SecondMoment()(jax.random.key(0), schedules.linear(20), 2), "bins to fewer"),
    ],
)
def test_impossible_times_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
