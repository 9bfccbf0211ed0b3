"""The processes of tokens against enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.categorical import Absorbing, Categorical, Logits, UniformTokens, certain
from diffax.schedules import Point

BOTH = [Absorbing(4), UniformTokens(4)]


def point(alpha):
    return Point(jnp.float32(1 - alpha), jnp.float32(alpha), jnp.float32(1 - alpha))


def forward(process, alpha):
    """The matrix q(x_t = j | x_0 = i) `[states, states]`, float64."""
    n, v = process.states, process.size
    end = np.full((n, n), 1 / v) if n == v else np.eye(n)[[v] * n]
    return alpha * np.eye(n) + (1 - alpha) * end


@pytest.mark.parametrize("process", BOTH)
@pytest.mark.parametrize("s, t", [(0.9, 0.3), (1.0, 0.5), (0.4, 0.0)])
def test_the_posterior_is_bayes(process, s, t):
    n, v = process.states, process.size
    within = forward(process, t / s)
    for x in range(n):
        for probs in (np.eye(v)[1], np.array([0.1, 0.2, 0.3, 0.4])):
            expected, reachable = np.zeros(n), 0.0
            for i, p in enumerate(probs):
                joint = forward(process, s)[i] * within[:, x]
                if joint.sum() > 0:
                    expected, reachable = expected + p * joint / joint.sum(), reachable + p
            if reachable < 1:
                continue  # x cannot come of such data
            log_probs = jnp.log(jnp.maximum(jnp.asarray(probs), 1e-30))[None, None]
            got = process.posterior(log_probs, jnp.array([[x]]), point(t), point(s))
            np.testing.assert_allclose(got[0, 0], expected, atol=2e-6)


@pytest.mark.parametrize("process", BOTH)
def test_jumps_are_ratios_of_marginals(process):
    """p_t(y) / p_t(x) times the rate of the jump y -> x over beta, for a known p(x_0)."""
    v, alpha = process.size, 0.6
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    q = forward(process, alpha)[:v]
    marginal = prior @ q
    for x in range(process.states):
        posterior = prior * q[:, x] / marginal[x]
        log_probs = jnp.log(jnp.maximum(jnp.asarray(posterior), 1e-30))[None, None]
        got = np.asarray(process.jumps(log_probs, jnp.array([[x]]), point(alpha)))[0, 0]
        rate = forward(process, 0.0)[:v, x] * (np.arange(v) != x)
        np.testing.assert_allclose(got, marginal[:v] / marginal[x] * rate, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("process", BOTH)
def test_noise_has_the_marginals_and_one_path(process):
    noise = jax.random.normal(jax.random.key(0), (40_000, 1))
    x0 = jnp.full(noise.shape, 2)
    counts = np.bincount(
        np.asarray(process.noised(x0, noise, point(0.3))).ravel(), minlength=process.states
    )
    expected = forward(process, 0.3)[2]
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.011)  # 4.5 deviations
    end = process.noised(x0, noise, point(0.0))
    np.testing.assert_array_equal(end, process.begin(noise, 1.0))
    np.testing.assert_array_equal(process.noised(x0, noise, point(1.0)), x0)
    if process.states > process.size:  # what is masked stays masked
        less, more = (process.noised(x0, noise, point(a)) == 4 for a in (0.7, 0.2))
        assert bool(jnp.all(more | ~less))


def test_the_mask_is_never_guessed_and_tokens_are_carried_over():
    logits = jax.random.normal(jax.random.key(0), (1, 3, 4))
    guess = Logits(Absorbing(4)).read(logits, jnp.array([[4, 1, 4]]), point(0.5))
    probs = np.exp(guess.log_probs)
    assert probs.shape == (1, 3, 4)
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probs[0, 1], [0, 1, 0, 0])
    np.testing.assert_allclose(probs[0, 0], jax.nn.softmax(logits[0, 0]), rtol=1e-5)


def test_a_uniform_guess_without_logits_is_what_x_itself_says():
    guess = Logits(UniformTokens(4)).read(jnp.zeros((1, 1, 4)), jnp.array([[2]]), point(0.5))
    expected = forward(UniformTokens(4), 0.5)[:, 2]
    np.testing.assert_allclose(np.exp(guess.log_probs[0, 0]), expected / expected.sum(), rtol=1e-5)


def test_guidance_is_a_power_of_probabilities():
    good, bad = jnp.array([[0.5, 0.3, 0.2]]), jnp.array([[0.2, 0.3, 0.5]])
    process = UniformTokens(3)
    mixed = Categorical(jnp.log(good), process).away_from(Categorical(jnp.log(bad), process), 3.0)
    expected = good**3 / bad**2
    np.testing.assert_allclose(np.exp(mixed.log_probs), expected / expected.sum(), rtol=1e-5)
    alike = Categorical(jnp.log(good), process).away_from(Categorical(jnp.log(good), process), 7.0)
    np.testing.assert_allclose(np.exp(alike.log_probs), good, rtol=1e-6)


def test_the_prior_is_the_divergence_of_the_noisiest_state():
    left = forward(UniformTokens(4), 0.2)[0]
    expected = np.sum(left * np.log(left * 4))
    np.testing.assert_allclose(UniformTokens(4).prior(point(0.2)), expected, rtol=1e-5)
    assert float(UniformTokens(4).prior(point(0.0))) == 0
    assert float(Absorbing(4).prior(point(0.0))) == 0
    assert certain(jnp.array([[3]]), Absorbing(4)).x0.tolist() == [[3]]
