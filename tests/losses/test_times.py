"""Where the losses look: distributions, pairs and strata, and ranks that are uniform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, parameterization, schedules


@pytest.mark.parametrize("draw", [losses.Uniform(), losses.Antithetic(), losses.Stratified()])
@pytest.mark.parametrize("schedule", [schedules.linear(10), schedules.RectifiedFlow()])
def test_times_cover_the_schedule_evenly(draw, schedule):
    keys = jax.random.split(jax.random.key(1), 500)
    t = np.asarray(jax.vmap(lambda key: draw(key, schedule, 8).t)(keys)).ravel()
    if isinstance(schedule, schedules.Discrete):
        counts = np.bincount(t.astype(int), minlength=10)
        assert counts.size == 10
        # 4,000 draws: 400 a bin, binomial standard deviation 19.
        assert np.all(np.abs(counts - 400) < 5 * 19)
    else:
        assert t.min() > 0 and t.max() <= 1
        np.testing.assert_allclose([t.mean(), t.var()], [0.5, 1 / 12], rtol=0.06)


def test_antithetic_times_come_in_mirrored_pairs():
    t = losses.Antithetic()(jax.random.key(0), schedules.linear(100), 8).t
    np.testing.assert_array_equal(t[:4] + t[4:], 99)
    assert losses.Antithetic()(jax.random.key(0), schedules.linear(100), 7).t.shape == (7,)


def test_stratified_times_have_one_in_every_stratum():
    t = losses.Stratified()(jax.random.key(3), schedules.linear(1000), 10).t
    np.testing.assert_array_equal(np.sort(np.asarray(t) // 100), np.arange(10))


def test_log_normal_and_logit_normal_times():
    point = losses.LogNormal(-1.2, 1.2)(jax.random.key(0), schedules.EDM(), 20_000)
    log_sigma = np.log(np.asarray(point.sigma))
    np.testing.assert_allclose([log_sigma.mean(), log_sigma.std()], [-1.2, 1.2], atol=0.05)
    point = losses.LogitNormal(0.0, 1.0)(jax.random.key(0), schedules.RectifiedFlow(), 20_000)
    logit = np.log(np.asarray(point.t) / (1 - np.asarray(point.t)))
    np.testing.assert_allclose([logit.mean(), logit.std()], [0, 1], atol=0.05)


def test_shifted_times_are_those_of_a_shifted_grid():
    """The median of uniform times is 1/2, whose shift by 3 is 3/4."""
    t = losses.Shifted(3.0)(jax.random.key(0), schedules.RectifiedFlow(), 4000).t
    # The median of 4,000 draws has the standard deviation 1 / (2 density sqrt(4000)), density 4/3.
    np.testing.assert_allclose(np.median(t), 0.75, atol=5 * 0.375 / 4000**0.5)


def test_even_log_snrs_are_likelihood_weights_with_less_variance():
    """The two estimate the same integral over log-SNR, of any function; one of them quietly."""
    path, key = schedules.VP(), jax.random.key(0)
    error = lambda point: jax.nn.sigmoid(point.logsnr)  # of eps, say
    even = losses.EvenLogSNR()(key, path, 20_000)
    span = float(path.at(1e-5).logsnr - path.start.logsnr)
    importance = np.asarray(span * error(even))
    uniform = losses.Uniform()(key, path, 20_000)
    weight = losses.Likelihood()(uniform, parameterization.Eps(), path)
    plain = np.asarray(weight * error(uniform))
    spread = (importance.var() + plain.var()) ** 0.5 / 20_000**0.5
    assert abs(importance.mean() - plain.mean()) < 4 * spread
    assert importance.var() < 0.2 * plain.var()


TABLE, FLOW, LEVELS = schedules.linear(1000), schedules.RectifiedFlow(), schedules.EDM()


@pytest.mark.parametrize(
    "name, schedule",
    [
        ("uniform", TABLE),
        ("uniform", FLOW),
        ("antithetic", TABLE),
        ("stratified", FLOW),
        ("uniform", LEVELS),
        ("antithetic", LEVELS),
        ("stratified", LEVELS),
        ("log_normal", LEVELS),
        ("logit_normal", FLOW),
        ("shifted", FLOW),
        ("even_logsnr", FLOW),
        ("even_logsnr", schedules.VP()),
    ],
)
def test_ranks_of_drawn_times_are_uniform(name, schedule):
    times = losses.TIMES[name]()
    point = times(jax.random.key(0), schedule, 4000)
    rank = np.sort(np.asarray(times.rank(point, schedule)))
    # Kolmogorov-Smirnov: 4,000 draws stay within 1.95 / sqrt(4000) of the line (p = 0.001).
    assert np.abs(rank - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / 4000**0.5


@pytest.mark.parametrize("name", ["uniform", "antithetic", "stratified"])
@pytest.mark.parametrize("schedule", [TABLE, FLOW, LEVELS, schedules.VE()])
def test_even_times_reach_the_noisy_start(name, schedule):
    t = losses.TIMES[name]()(jax.random.key(0), schedule, 1000).t
    assert 0.99 * schedule.start.t < t.max() <= schedule.start.t


def test_ranks_grow_with_the_noise():
    for times, schedule in ((losses.LogNormal(), LEVELS), (losses.LogitNormal(0.5, 2.0), FLOW)):
        rank = times.rank(schedule.at(jnp.linspace(0.1, 0.9, 9)), schedule)
        assert np.all(np.diff(rank) > 0) and rank[0] > 0 and rank[-1] < 1
    # The middle of all draws: log(sigma / alpha) is the mean.
    middle = LEVELS.at(jnp.exp(-1.2)[None])
    np.testing.assert_allclose(losses.LogNormal().rank(middle, LEVELS), 0.5, atol=1e-6)


def test_names_are_complete():
    assert list(losses.TIMES) == [
        "uniform", "antithetic", "stratified", "log_normal", "logit_normal", "shifted",
        "even_logsnr", "second_moment",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.LogNormal(std=0.0), r"std should be a finite number > 0, got 0\.0"),
        (lambda: losses.LogitNormal(mean=float("nan")), "mean should be a finite number, got nan"),
        (lambda: losses.LogitNormal()(jax.random.key(0), TABLE, 2), "use another continuous"),
        (lambda: losses.LogitNormal()(jax.random.key(0), LEVELS, 2), "which EDM's noise levels"),
        (lambda: losses.Shifted()(jax.random.key(0), TABLE, 2), "with a table use Uniform"),
        (lambda: losses.EvenLogSNR()(jax.random.key(0), TABLE, 2), "use a continuous schedule"),
    ],
)
def test_impossible_times_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_moments_of_the_times_are_traced():
    """One program for every mean and std, whole numbers and arrays among them."""

    traces = []

    @jax.jit
    def draw(times):
        traces.append(None)
        return times(jax.random.key(0), LEVELS, 4).sigma

    for mean, std in ((-1.2, 1.2), (0, 1), (jnp.asarray(1), np.float32(0.5))):
        draw(losses.LogNormal(mean, std))
    assert len(traces) == 1
