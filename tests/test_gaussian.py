"""The closed forms against numerical integration, composition and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from diffax import gaussian, schedules
from diffax.gaussian import Gaussian

SCHEDULES = {
    "linear": schedules.linear(1000),
    "cosine": schedules.cosine(1000),
    "tutorial": schedules.sigmoid_beta(100),
    "flow": schedules.RectifiedFlow(),
    "sub_vp": schedules.SubVP(),
    "ve": schedules.VE(),
}


def two_points(schedule):
    """A noisier and a cleaner point in the middle of a schedule, and their float64 numbers."""
    last = float(schedule.start.t)
    times = (0.6 * last, 0.3 * last)
    if isinstance(schedule, schedules.Discrete):
        times = tuple(round(t) for t in times)
    at_t, at_s = (schedule.at(t) for t in times)
    return at_t, at_s, [float(v) for v in (at_t.alpha, at_t.sigma, at_s.alpha, at_s.sigma)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_posterior_is_bayes_rule_by_numerical_integration(name):
    at_t, at_s, (a_t, s_t, a_s, s_s) = two_points(SCHEDULES[name])
    x0, x_t = 0.7, -0.4
    scale, variance = a_t / a_s, s_t**2 - (a_t / a_s) ** 2 * s_s**2
    joint = lambda x_s: (
        stats.norm.pdf(x_s, a_s * x0, s_s) * stats.norm.pdf(x_t, scale * x_s, variance**0.5)
    )
    centre = np.linspace(a_s * x0 - 12 * s_s, a_s * x0 + 12 * s_s, 200_001)
    weight = joint(centre)
    total = integrate.simpson(weight, x=centre)
    mean = integrate.simpson(weight * centre, x=centre) / total
    var = integrate.simpson(weight * (centre - mean) ** 2, x=centre) / total
    ours = gaussian.posterior(jnp.full((1, 1), x_t), jnp.full((1, 1), x0), at_t, at_s)
    np.testing.assert_allclose(ours.mean, mean, rtol=2e-5)
    np.testing.assert_allclose(ours.variance, var, rtol=2e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_marginal_is_the_step_integrated_over_the_cleaner_marginal(name):
    at_t, at_s, _ = two_points(SCHEDULES[name])
    x0 = jnp.full((1, 1), 0.7)
    cleaner = gaussian.marginal(x0, at_s)
    scale, added = gaussian.interval(at_t, at_s)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    x_s = float(cleaner.mean[0, 0]) + float(cleaner.variance) ** 0.5 * nodes
    means = np.asarray(gaussian.step(jnp.asarray(x_s)[:, None], at_t, at_s).mean)[:, 0]
    weights = weights / weights.sum()
    mean = (weights * means).sum()
    variance = float(added) + (weights * (means - mean) ** 2).sum()
    direct = gaussian.marginal(x0, at_t)
    np.testing.assert_allclose(direct.mean[0, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(direct.variance, variance, rtol=1e-5)
    assert float(scale) > 0


def test_single_steps_compose_to_the_closed_form_in_distribution():
    """100 steps of q(x_t | x_{t-1}) from one x0: mean and variance of 100,000 chains."""
    schedule = schedules.linear(100, 1e-3, 0.05)
    chains, x0 = 100_000, 0.8

    def forward(x, inputs):
        key, t = inputs
        q = gaussian.step(x, schedule.at(t), schedule.at(t - 1))
        return q.mean + jnp.sqrt(q.variance) * jax.random.normal(key, x.shape), None

    keys = jax.random.split(jax.random.key(0), 100)
    x, _ = jax.lax.scan(forward, jnp.full((chains, 1), x0), (keys, jnp.arange(100.0)))
    end = schedule.at(99)
    x = np.asarray(x, np.float64)[:, 0]
    # Five standard errors of the mean, and of the variance (sqrt(2 / n) relative).
    assert abs(x.mean() - float(end.alpha) * x0) < 5 * float(end.sigma) / chains**0.5
    assert abs(x.var() / float(end.sigma) ** 2 - 1) < 5 * (2 / chains) ** 0.5
    assert stats.kstest((x - float(end.alpha) * x0) / float(end.sigma), "norm").pvalue > 1e-3


def test_single_step_variance_is_the_table_of_betas():
    schedule = schedules.linear(1000)
    t = jnp.arange(1, 1000)
    scale, variance = gaussian.interval(schedule.at(t), schedule.at(t - 1))
    # Both points are float32: each ratio keeps about 1e-7, and beta >= 1e-4 is what remains of 1.
    np.testing.assert_allclose(variance, schedule.beta[1:], rtol=2e-3)
    np.testing.assert_allclose(variance[100:], schedule.beta[101:], rtol=1e-4)
    np.testing.assert_allclose(scale, jnp.sqrt(1 - schedule.beta[1:]), rtol=1e-6)


def test_interval_limits():
    schedule = schedules.linear(10)
    at_t = schedule.at(5)
    assert gaussian.added_noise_share(at_t, at_t) == 0
    assert gaussian.added_noise_share(at_t, schedule.end) == 1
    noise = schedules.zero_terminal_snr(schedule).start
    assert gaussian.added_noise_share(noise, schedule.at(3)) == 1


def test_q_sample_takes_scalar_and_batched_points():
    schedule = schedules.cosine(50)
    x0 = jax.random.normal(jax.random.key(0), (3, 4, 4, 1))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    batched = gaussian.q_sample(x0, eps, schedule.at(jnp.array([0, 20, 49])))
    for i, t in enumerate((0, 20, 49)):
        one = gaussian.q_sample(x0[i : i + 1], eps[i : i + 1], schedule.at(t))
        np.testing.assert_array_equal(batched[i], one[0])


def test_kl_is_the_integral():
    p, q = Gaussian(jnp.array(0.3), jnp.array(0.5)), Gaussian(jnp.array(-0.2), jnp.array(1.7))
    x = np.linspace(-15, 15, 100_001)
    log_p, log_q = (stats.norm.logpdf(x, float(g.mean), float(g.variance) ** 0.5) for g in (p, q))
    integral = integrate.simpson(np.exp(log_p) * (log_p - log_q), x=x)
    np.testing.assert_allclose(gaussian.kl(p, q), integral, rtol=1e-5)
    assert gaussian.kl(p, p) == 0


def test_log_prob_is_scipys():
    x = jnp.linspace(-3, 3, 13)
    ours = gaussian.log_prob(x, Gaussian(jnp.array(0.4), jnp.array(2.5)))
    np.testing.assert_allclose(ours, stats.norm.logpdf(x, 0.4, 2.5**0.5), rtol=1e-5)


@pytest.mark.parametrize("mean, std", [(0.1, 0.5), (0.9, 0.003), (-1.3, 0.02), (0.0, 30.0)])
def test_discretized_likelihood_sums_to_one_and_is_the_integral(mean, std):
    pixels = jnp.asarray(2 * np.arange(256) / 255 - 1, jnp.float32)
    log_p = gaussian.discretized_log_likelihood(
        pixels, Gaussian(jnp.full((256,), mean), jnp.asarray(std**2, jnp.float32))
    )
    np.testing.assert_allclose(np.exp(np.asarray(log_p, np.float64)).sum(), 1.0, atol=3e-5)
    edges = np.asarray(pixels, np.float64) + 1 / 255
    cdf = stats.norm.cdf(edges[:-1], mean, std)
    wanted = np.diff(np.concatenate([[0.0], cdf, [1.0]]))
    seen = wanted > 1e-12
    np.testing.assert_allclose(np.exp(log_p)[seen], wanted[seen], rtol=2e-3, atol=1e-7)


def test_discretized_likelihood_stays_finite_far_out():
    x = jnp.array([-1.0, 0.0, 1.0])
    log_p = gaussian.discretized_log_likelihood(x, Gaussian(jnp.array(5.0), jnp.array(1e-4)))
    assert np.all(np.isfinite(log_p)) and log_p[0] < -1e4


def test_reverse_variances():
    small, large = jnp.array(0.01), jnp.array(0.02)
    at = lambda v: gaussian.reverse_variance(small, large, "learned_range", jnp.array(v))
    np.testing.assert_allclose(at(-1.0), small, rtol=1e-6)
    np.testing.assert_allclose(at(1.0), large, rtol=1e-6)
    np.testing.assert_allclose(at(0.0), (0.01 * 0.02) ** 0.5, rtol=1e-6)
    learned = gaussian.reverse_variance(small, large, "learned", jnp.log(0.03))
    np.testing.assert_allclose(learned, 0.03, rtol=1e-6)
    with pytest.raises(ValueError, match="twice the data's channels"):
        gaussian.reverse_variance(small, large, "learned", None)
