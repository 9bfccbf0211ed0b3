"""The terms of the variational bound against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import gaussian, losses, schedules
from diffax.denoiser import Network
from diffax.mixture import GaussianMixture
from diffax.parameterization import Eps, Prediction

SCHEDULE = schedules.linear(1000)
TERM = jax.jit(losses.bound_term, static_argnames=("variance", "clip_x0", "levels"))


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


@pytest.mark.slow
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


def test_real_numbers_have_a_density_for_a_decoder():
    """`-log N(x_0; mean(x_1), beta tilde)` of Gaussian data and their exact denoiser."""
    data = GaussianMixture(jnp.zeros((1, 1)), jnp.asarray([0.25]), jnp.ones(1))
    x0 = 0.25 * jax.random.normal(jax.random.key(0), (20_000, 1))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    options = {"variance": "fixed_small", "clip_x0": False, "levels": None}
    found = TERM(data, x0, eps, SCHEDULE, jnp.zeros(len(x0)), **options)
    beta = np.linspace(1e-4, 0.02, 1000)
    small = beta[1] * beta[0] / (1 - (1 - beta[0]) * (1 - beta[1]))
    left = 0.0625 * beta[0] / ((1 - beta[0]) * 0.0625 + beta[0])  # Var(x_0 | x_1)
    wanted = 0.5 * np.log(2 * np.pi * small) + 0.5 * left / small
    assert float(found.mean()) == pytest.approx(wanted, abs=0.04)  # 4 standard errors


LEVELS = np.linspace(-1, 1, 8)
SHARES = np.exp(-0.5 * (LEVELS / 0.4) ** 2) / np.exp(-0.5 * (LEVELS / 0.4) ** 2).sum()
GREY = GaussianMixture(LEVELS[:, None], jnp.zeros(8), SHARES)  # the exact denoiser of eight levels
X0 = jnp.tile(jnp.asarray(LEVELS, jnp.float32), 256)[:, None]
BOUND = jax.jit(
    losses.variational_bound, static_argnames=("parts", "variance", "clip_x0", "levels")
)


def table(num_steps):
    """Even in log-SNR, from a tenth of a level's distance to pure noise."""
    ratio = np.geomspace(0.02, 50, num_steps)
    return schedules.from_alpha_bars(1 / (1 + ratio**2))


@pytest.fixture(scope="module")
def whole():
    """All 32 terms."""
    return BOUND(GREY, X0, jax.random.key(0), table(32), levels=8)


def test_the_bound_of_the_best_denoiser_approaches_the_entropy(whole):
    """Each step loses its share of `(SNR_s - SNR_t) / 2 Var(x_0 | x_t)`, together O(1 / T)."""

    def gap(bound):
        # Every level as often as the data have it; what was drawn moves the mean by 0.02.
        mean = float(np.average(bound.total, weights=np.tile(SHARES, 256)))
        return mean + np.sum(SHARES * np.log(SHARES))

    assert gap(whole) > 0.3
    assert 0 < gap(BOUND(GREY, X0, jax.random.key(0), table(256), levels=8)) < 0.08


def test_the_terms_are_those_of_their_times_and_sum_to_the_bound(whole):
    np.testing.assert_array_equal(whole.edges, np.arange(33))
    np.testing.assert_allclose(whole.total, whole.terms.sum(0) + whole.prior, rtol=1e-6)
    eps = jax.random.normal(jax.random.key(5), X0.shape)
    for t in (8, 20):
        times = jnp.full(len(X0), t)
        alone = TERM(GREY, X0, eps, table(32), times, variance="fixed_small", levels=8)
        assert float(whole.terms[t].mean()) == pytest.approx(float(alone.mean()), rel=0.1)


def test_drawn_terms_estimate_the_sum_of_all(whole):
    drawn = BOUND(GREY, X0, jax.random.key(1), table(32), levels=8, parts=5)
    np.testing.assert_array_equal(drawn.edges, [0, 6, 12, 19, 25, 32])
    for i in range(5):
        part = whole.terms[drawn.edges[i] : drawn.edges[i + 1]].sum(0)
        error = float(drawn.terms[i].std() + part.std()) / len(X0) ** 0.5
        assert abs(float(drawn.terms[i].mean() - part.mean())) < 4 * error + 1e-6


def test_a_bound_cannot_have_more_parts_than_times():
    with pytest.raises(ValueError, match="parts of the bound must be 1 to 1000, .* got 1001"):
        losses.variational_bound(GREY, X0, jax.random.key(0), SCHEDULE, parts=1001)


def test_unused_parts_are_not_needed():
    """A denoiser is anything callable: a Network works as well as a function."""
    network = Network(lambda p, x, t, c: p * x, 0.1, None, Eps())
    x0 = jnp.zeros((2, 2, 2, 1))
    term = losses.bound_term(network, x0, x0 + 1, schedules.linear(10), jnp.array([0, 5]))
    assert term.shape == (2,) and np.all(np.isfinite(term))
