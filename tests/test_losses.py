"""The loss against its definition; times, weights and the bound against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import gaussian, losses, schedules
from diffax.denoiser import Network
from diffax.parameterization import EDM, X0, Eps, Prediction, V, Velocity

SCHEDULE = schedules.linear(1000)


def loss(apply, x0, **changes):
    settings = dict(
        schedule=SCHEDULE,
        parameterization=Eps(),
        times=losses.uniform,
        weighting=losses.constant,
    )
    return losses.diffusion_loss(apply, None, x0, jax.random.key(0), **(settings | changes))


def test_loss_of_a_silent_network_is_the_power_of_the_noise():
    x0 = jnp.zeros((5000, 8))
    value, parts = loss(lambda p, x, t, c: jnp.zeros_like(x), x0)
    # Mean of chi-square over 40,000 draws: one, with a standard error of 0.007.
    np.testing.assert_allclose(value, 1.0, atol=0.035)
    assert parts["mse"].shape == parts["t"].shape == (5000,)
    assert value.dtype == jnp.float32


@pytest.mark.parametrize("parameterization", [Eps(), X0(), V(), Velocity(), EDM(1.0)])
def test_the_right_answer_has_no_loss(parameterization):
    """On data that are all zero the noise is x / sigma, so the target is known to the network."""

    def oracle(params, x, t, condition):
        if isinstance(parameterization, EDM):
            level = jnp.exp(4 * t)
            c_in = jax.lax.rsqrt(level**2 + 1)
            eps = x / (c_in * level)[:, None]
            k = level[:, None]
            return -(1 / (k**2 + 1)) * k * eps / (k * jax.lax.rsqrt(k**2 + 1))
        point = SCHEDULE.at(t)
        eps = x / point.sigma[:, None]
        return parameterization.target(jnp.zeros_like(x), eps, point)

    value, _ = loss(oracle, jnp.zeros((64, 8)), parameterization=parameterization)
    assert value < 1e-9


def test_condition_reaches_the_network():
    seen = lambda p, x, t, c: jnp.zeros_like(x) + c[:, None]
    low, _ = loss(seen, jnp.zeros((64, 8)), condition=jnp.zeros(64))
    high, _ = loss(seen, jnp.zeros((64, 8)), condition=jnp.full((64,), 10.0))
    assert high > low + 50


@pytest.mark.parametrize("draw", [losses.uniform, losses.antithetic, losses.stratified])
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
    t = losses.antithetic(jax.random.key(0), schedules.linear(100), 8).t
    np.testing.assert_array_equal(t[:4] + t[4:], 99)
    assert losses.antithetic(jax.random.key(0), schedules.linear(100), 7).t.shape == (7,)


def test_stratified_times_have_one_in_every_stratum():
    t = losses.stratified(jax.random.key(3), schedules.linear(1000), 10).t
    np.testing.assert_array_equal(np.sort(np.asarray(t) // 100), np.arange(10))


def test_log_normal_and_logit_normal_times():
    point = losses.log_normal(-1.2, 1.2)(jax.random.key(0), schedules.EDM(), 20_000)
    log_sigma = np.log(np.asarray(point.sigma))
    np.testing.assert_allclose([log_sigma.mean(), log_sigma.std()], [-1.2, 1.2], atol=0.05)
    point = losses.logit_normal(0.0, 1.0)(jax.random.key(0), schedules.RectifiedFlow(), 20_000)
    logit = np.log(np.asarray(point.t) / (1 - np.asarray(point.t)))
    np.testing.assert_allclose([logit.mean(), logit.std()], [0, 1], atol=0.05)


def test_time_and_noise_have_keys_of_their_own():
    """One key for both would tie the noise to the time."""
    x0 = jnp.zeros((4096, 1))
    first_noise = lambda p, x, t, c: jnp.zeros_like(x)
    _, parts = loss(first_noise, x0, schedule=schedules.RectifiedFlow())
    t, power = np.asarray(parts["t"]), np.asarray(parts["mse"])
    assert abs(np.corrcoef(t, power)[0, 1]) < 5 / 4096**0.5


# ---------------------------------------------------------------- weights


def test_min_snr_is_right_for_every_parameterization():
    """Hang et al. 2023, section 3.4: eps min(SNR, g)/SNR, x0 min(SNR, g), v min(SNR, g)/(SNR+1)."""
    point = SCHEDULE.at(jnp.array([5, 100, 400, 990]))
    snr = (point.alpha / point.sigma) ** 2
    clipped = jnp.minimum(snr, 5.0)
    weigh = losses.min_snr(5.0)
    np.testing.assert_allclose(weigh(point, Eps()), clipped / snr, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, X0()), clipped, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, V()), clipped / (snr + 1), rtol=1e-5)


@pytest.mark.parametrize("weigh", [losses.min_snr(5.0), losses.p2(1.0, 1.0)])
def test_a_weighting_means_the_same_for_every_parameterization(weigh):
    """The same error of x0 costs the same, whatever the network is asked for."""
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    costs = [weigh(point, p) * p.sensitivity(point) for p in (Eps(), X0(), V(), Velocity(), EDM())]
    for cost in costs[1:]:
        np.testing.assert_allclose(cost, costs[0], rtol=1e-4)


def test_p2_on_eps_is_the_papers():
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    snr = (point.alpha / point.sigma) ** 2
    np.testing.assert_allclose(losses.p2(0.5, 1.0)(point, Eps()), (1 + snr) ** -0.5, rtol=1e-5)


def test_weights_are_finite_at_pure_noise():
    noise = schedules.zero_terminal_snr(SCHEDULE).start
    for weigh in (losses.min_snr(), losses.p2()):
        for p in (Eps(), X0(), V()):
            assert np.isfinite(weigh(noise, p))


# ---------------------------------------------------------------- the bound


def test_prior_kl_is_gaussian_kl():
    x0 = jax.random.uniform(jax.random.key(0), (3, 4, 4, 1), minval=-1, maxval=1)
    signal, noise = float(SCHEDULE.alpha[-1]), float(SCHEDULE.sigma[-1])
    wanted = 0.5 * np.sum(
        noise**2 + (signal * np.asarray(x0, np.float64)) ** 2 - 1 - 2 * np.log(noise),
        axis=(1, 2, 3),
    )
    np.testing.assert_allclose(losses.prior_kl(x0, SCHEDULE), wanted, rtol=2e-2, atol=1e-6)


def test_bound_terms_of_a_denoiser_that_knows_the_data():
    """With x0 known and the small variance every KL is zero; L_0 is the decoder's rounding."""
    x0 = jnp.round(jax.random.uniform(jax.random.key(0), (4, 3, 3, 1)) * 255) / 127.5 - 1
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    schedule = schedules.linear(1000)
    oracle = lambda x, point: Prediction(x0, eps)
    t = jnp.array([1, 10, 500, 999])
    terms = losses.bound_term(oracle, x0, eps, schedule, t, variance="fixed_small")
    np.testing.assert_allclose(terms, 0.0, atol=1e-5)
    decoder = losses.bound_term(oracle, x0, eps, schedule, jnp.zeros(4), variance="fixed_small")
    # The mean is x0 itself and beta tilde_2 is 5.4e-5: a pixel's bin is half a sigma wide.
    sigma = float(gaussian.posterior(x0, x0, schedule.at(1), schedule.at(0)).variance) ** 0.5
    model = gaussian.Gaussian(x0, jnp.asarray(sigma**2))
    wanted = -np.sum(gaussian.discretized_log_likelihood(x0, model), axis=(1, 2, 3))
    np.testing.assert_allclose(decoder, wanted, rtol=1e-4)


def test_bound_terms_grow_with_the_squared_error_of_x0():
    """L_{t-1} = (SNR(t-1) - SNR(t)) / 2 |error|^2 for the small variance (Kingma et al. 2021)."""
    x0 = jnp.zeros((1, 2, 2, 1))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    schedule = schedules.linear(100, 1e-3, 0.1)
    wrong = lambda x, point: Prediction(x0 + 0.3, eps)
    t = jnp.array([40])
    term = losses.bound_term(wrong, x0, eps, schedule, t, variance="fixed_small")
    snr = lambda t: float((schedule.alpha[t] / schedule.sigma[t]) ** 2)
    np.testing.assert_allclose(term, 0.5 * (snr(39) - snr(40)) * 4 * 0.3**2, rtol=1e-4)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_the_whole_bound_of_gaussian_data_is_its_closed_form(variance):
    """All 1000 terms, 200 draws each, with the exact E[x_0 | x_t].

    Data: 8-bit pixels from N(0, 0.25^2), cut at +-1 (a 4-sigma event). Expected terms in float64:
    KL between Gaussians, whose means differ by the share of Var(x_0 | x_t) that reaches them.
    """
    schedule = schedules.linear(1000)
    t = jnp.repeat(jnp.arange(1000), 200)
    data = np.random.default_rng(0).normal(0, 0.25, (t.size, 1)).clip(-1, 1)
    x0 = jnp.asarray(np.round((data + 1) * 127.5) / 127.5 - 1, jnp.float32)

    def denoise(x, point):
        at = point.broadcast(x)
        gain = at.alpha * 0.0625 / (at.alpha**2 * 0.0625 + at.sigma**2)
        return Prediction(gain * x, (x - at.alpha * gain * x) / at.sigma)

    eps = jax.random.normal(jax.random.key(0), x0.shape)
    bound = jax.jit(losses.bound_term, static_argnames=("denoiser", "variance"))
    terms = bound(denoise, x0, eps, schedule, t, variance=variance)
    total = 1000 * terms.mean() + losses.prior_kl(x0, schedule).mean()
    bits = float(gaussian.bits_per_dimension(total, 1))

    beta = np.linspace(1e-4, 0.02, 1000)
    bars = np.cumprod(1 - beta)
    signal, noise = bars[1:], 1 - bars[1:]
    small = beta[1:] * (1 - bars[:-1]) / noise
    uncertain = 0.0625 * noise / (signal * 0.0625 + noise)
    miss = bars[:-1] * (beta[1:] / noise) ** 2 * uncertain
    model = small if variance == "fixed_small" else beta[1:]
    kls = 0.5 * (small / model - 1 - np.log(small / model) + miss / model)
    first = 0.0625 * beta[0] / (bars[0] * 0.0625 + beta[0])
    decoder = 0.5 * np.log(2 * np.pi * small[0]) + 0.5 * first / small[0] + np.log(127.5)
    wanted = (kls.sum() + decoder) / np.log(2)
    # L_0's density is integrated over bins about one sigma wide, and 200 draws a term.
    np.testing.assert_allclose(bits, wanted, rtol=0.02)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * 0.0625) + np.log2(127.5)
    assert bits > entropy


def test_unused_parts_are_not_needed():
    """A denoiser is anything callable: a Network works as well as a function."""
    network = Network(lambda p, x, t, c: p * x, 0.1, None, Eps())
    x0 = jnp.zeros((2, 2, 2, 1))
    term = losses.bound_term(network, x0, x0 + 1, schedules.linear(10), jnp.array([0, 5]))
    assert term.shape == (2,) and np.all(np.isfinite(term))
