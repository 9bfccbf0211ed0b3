"""Guidance: closed forms on Gaussian data, and the identities each form must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import guidance, parameterization, schedules

VP = schedules.VP()
X = jnp.linspace(-2, 2, 12).reshape(4, 3)


def conditional_network(reading=None):
    """A network whose answer depends on its condition."""
    return diffax.Network(
        lambda p, x, t, c: jnp.sin(p * x) + c[:, None] * (x + 1),
        1.3,
        jnp.array([0.3, -0.2, 0.5, 0.1]),
        reading or parameterization.Eps(),
    )


def gaussian(mean, std):
    return diffax.mixture.GaussianMixture(
        jnp.atleast_2d(jnp.asarray(mean)), jnp.array([std]), jnp.ones(1)
    )


@pytest.mark.parametrize("batched", [True, False])
def test_scale_1_is_conditional_and_0_unconditional(batched):
    network, at = conditional_network(), VP.at(0.4)
    none = diffax.Network(network.apply, network.params, jnp.zeros(4), network.parameterization)

    def guided(scale):
        return guidance.ClassifierFree(network, jnp.zeros(()), scale, batched=batched)(X, at)

    np.testing.assert_allclose(guided(1.0).eps, network(X, at).eps, rtol=1e-6)
    np.testing.assert_allclose(guided(0.0).eps, none(X, at).eps, rtol=1e-5, atol=1e-6)
    mixed = none(X, at).eps + 3.0 * (network(X, at).eps - none(X, at).eps)
    np.testing.assert_allclose(guided(3.0).eps, mixed, rtol=1e-5, atol=1e-6)


def test_one_call_and_two_calls_agree_and_scales_may_differ():
    network, at = conditional_network(), VP.at(0.4)
    scales = jnp.array([0.0, 1.0, 2.0, 7.5])
    one = guidance.ClassifierFree(network, jnp.full(4, 9.0), scales)(X, at)
    two = guidance.ClassifierFree(network, jnp.full(4, 9.0), scales, batched=False)(X, at)
    np.testing.assert_allclose(one.x0, two.x0, rtol=1e-5)
    for i, scale in enumerate(scales):
        alone = guidance.ClassifierFree(network, jnp.full(4, 9.0), scale)(X, at)
        np.testing.assert_allclose(one.eps[i], alone.eps[i], rtol=1e-5)


def test_negative_condition_takes_the_place_of_none():
    network, at = conditional_network(), VP.at(0.4)
    away = guidance.ClassifierFree(network, jnp.array([1.0, 2.0, 3.0, 4.0]), 2.0)(X, at)
    negative = diffax.Network(
        network.apply, network.params, jnp.array([1.0, 2.0, 3.0, 4.0]), network.parameterization
    )
    wanted = 2 * network(X, at).eps - negative(X, at).eps
    np.testing.assert_allclose(away.eps, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reading", [parameterization.Eps(), parameterization.V()])
def test_rescale_gives_the_networks_own_output_the_conditional_spread(reading):
    """Lin et al. 2023, eq. 15-16, computed by hand on the network's outputs."""
    network, at = conditional_network(reading), VP.at(0.4)
    positive = network.apply(1.3, X, None, network.condition)
    negative = network.apply(1.3, X, None, jnp.zeros(4))
    output = negative + 5.0 * (positive - negative)
    ratio = positive.std(axis=1, keepdims=True) / output.std(axis=1, keepdims=True)
    wanted = reading.read(0.7 * ratio * output + 0.3 * output, X, at)
    guided = guidance.ClassifierFree(network, jnp.zeros(4), 5.0, rescale=0.7)(X, at)
    np.testing.assert_allclose(guided.x0, wanted.x0, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(guided.eps, wanted.eps, rtol=2e-4, atol=1e-5)


def test_interval_guides_inside_only_and_saves_the_calls_outside():
    network = conditional_network()
    guided = guidance.ClassifierFree(network, jnp.zeros(4), 4.0, interval=(0.2, 2.0))
    always = guidance.ClassifierFree(network, jnp.zeros(4), 4.0)
    inside, below, above = VP.at(0.3), VP.at(0.01), VP.at(0.9)
    assert 0.2 < float(inside.sigma_ratio) < 2.0
    np.testing.assert_allclose(guided(X, inside).eps, always(X, inside).eps, rtol=1e-6)
    for at in (below, above):
        np.testing.assert_allclose(guided(X, at).eps, network(X, at).eps, rtol=1e-6)
    mixed = VP.at(np.array([0.3, 0.01, 0.9, 0.3]))
    found = guided(X, mixed).eps
    np.testing.assert_allclose(found[0], always(X, mixed).eps[0], rtol=1e-5)
    np.testing.assert_allclose(found[1:3], network(X, mixed).eps[1:3], rtol=1e-5)


def test_autoguidance_extrapolates_from_the_worse_model():
    good, bad, at = gaussian([1.0, 0.0, 0.0], 0.5), gaussian([0.6, 0.1, 0.0], 0.9), VP.at(0.5)
    guided = guidance.Guided(good, bad, 2.5)(X, at)
    np.testing.assert_allclose(
        guided.x0, bad(X, at).x0 + 2.5 * (good(X, at).x0 - bad(X, at).x0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(guidance.Guided(good, bad, 1.0)(X, at).x0, good(X, at).x0)
    spread = guidance.Guided(good, bad, 2.5, rescale=1.0)(X, at).x0.std(axis=1)
    np.testing.assert_allclose(spread, good(X, at).x0.std(axis=1), rtol=1e-4)


def test_classifier_guidance_is_exact_where_the_classifier_is():
    """Two point-like classes: guided by the true p(label | x_t), the mixture is the class."""
    data = diffax.mixture.GaussianMixture(
        jnp.array([[1.0, 0.5], [-1.0, 0.0]]), jnp.array([0.3, 0.6]), jnp.array([0.3, 0.7])
    )
    at = VP.at(0.35)

    def classify(params, x, t):
        point = VP.at(t)
        alpha, sigma = point.alpha[:, None], point.sigma[:, None]
        variance = alpha**2 * data.stds[None] ** 2 + sigma**2
        off = x[:, None] - alpha[..., None] * data.means[None]
        squares = jnp.sum(off**2, axis=-1) / variance + 2 * jnp.log(variance)
        return jnp.log(data.weights)[None] - 0.5 * squares

    x = jax.random.normal(jax.random.key(0), (8, 2))
    label = jnp.arange(8) % 2
    guided = guidance.ClassifierGuidance(data, classify, None, label)(x, at)
    for i in range(8):
        only = diffax.mixture.GaussianMixture(
            data.means[label[i]][None], data.stds[label[i]][None], jnp.ones(1)
        )(x[i : i + 1], at)
        np.testing.assert_allclose(guided.x0[i], only.x0[0], rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(guided.eps[i], only.eps[0], rtol=2e-3, atol=1e-4)


OPERATORS = {
    "super-resolution": lambda x: x.reshape(*x.shape[:-1], -1, 2).mean(axis=-1),
    "inpainting": lambda x: x[..., 1:4],
    "blur": lambda x: 0.5 * x + 0.3 * jnp.roll(x, 1, -1) + 0.2 * jnp.roll(x, -1, -1),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise_std", [0.1, 0.5])
def test_reconstruction_is_exact_for_gaussian_data(name, noise_std):
    """E[x0 | x_t, y] of a linear Gaussian model, by the normal equations in float64."""
    operator, std, size = OPERATORS[name], 0.8, 6
    data, at = gaussian(np.zeros(size), std), VP.at(0.4)
    random = np.random.default_rng(0)
    x = random.normal(size=(3, size))
    matrix = np.asarray(operator(jnp.eye(size))).T
    y = random.normal(size=(3, matrix.shape[0]))
    alpha, sigma = float(at.alpha), float(at.sigma)
    precision = (
        np.eye(size) / std**2
        + alpha**2 / sigma**2 * np.eye(size)
        + matrix.T @ matrix / noise_std**2
    )
    right = alpha / sigma**2 * x + y @ matrix / noise_std**2
    wanted = np.linalg.solve(precision, right.T).T
    guided = guidance.Reconstruction(
        data, operator, jnp.asarray(y, jnp.float32), noise_std, data_std=std
    )(jnp.asarray(x, jnp.float32), at)
    np.testing.assert_allclose(guided.x0, wanted, rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose(guided.eps, (x - alpha * wanted) / sigma, rtol=2e-3, atol=2e-4)


def test_reconstruction_samples_agree_with_the_measurement():
    data = gaussian(np.zeros(6), 1.0)
    operator = OPERATORS["super-resolution"]
    y = jnp.array([[0.5, -1.0, 0.2]] * 8)
    guided = guidance.Reconstruction(data, operator, y, noise_std=0.01)
    keys = diffax.sample_keys(0, 8)
    grid = diffax.time_grid(VP, 60, "karras")
    noise = diffax.initial_noise(keys, (6,))
    x = jax.jit(diffax.sample)(guided, diffax.solvers.DDIM(1.0), grid, noise, keys)
    np.testing.assert_allclose(operator(x), y, atol=0.05)
    # What was not measured is still free.
    assert float(jnp.std(x[:, 0] - x[:, 1])) > 0.5


def test_measurement_of_the_wrong_shape_is_refused():
    guided = guidance.Reconstruction(
        gaussian(np.zeros(6), 1.0), OPERATORS["blur"], jnp.ones((3, 5))
    )
    with pytest.raises(ValueError, match="measurement"):
        guided(jnp.ones((3, 6)), VP.at(0.5))


@pytest.mark.parametrize("keep_eps", [True, False])
def test_clipping_and_thresholding(keep_eps):
    big = gaussian([3.0, -2.0, 0.1], 0.01)
    at = VP.at(0.3)
    clipped = guidance.Clip(big, 1.0, keep_eps)(X, at)
    np.testing.assert_allclose(clipped.x0, jnp.clip(big(X, at).x0, -1, 1))
    shrunk = guidance.DynamicThreshold(big, 1.0, keep_eps=keep_eps)(X, at)
    largest = jnp.abs(big(X, at).x0).max(axis=1, keepdims=True)
    np.testing.assert_allclose(shrunk.x0, big(X, at).x0 / largest, rtol=1e-5)
    for guess in (clipped, shrunk):
        agrees = jnp.allclose(at.alpha * guess.x0 + at.sigma * guess.eps, X, atol=1e-4)
        assert bool(agrees) != keep_eps
    small = gaussian([0.3, -0.2, 0.1], 0.01)
    same = guidance.DynamicThreshold(small, 0.995)(X, at)
    np.testing.assert_allclose(same.x0, small(X, at).x0, rtol=1e-5)


def test_wrappers_nest_under_one_jit():
    network = conditional_network()
    guided = guidance.Clip(
        guidance.ClassifierFree(network, jnp.zeros(4), 3.0, rescale=0.5, interval=(0.1, 5.0))
    )
    keys = diffax.sample_keys(0, 4)
    grid = diffax.time_grid(VP, 5)
    noise = diffax.initial_noise(keys, (3,))
    out = jax.jit(diffax.sample)(guided, diffax.solvers.UniPC(), grid, noise, keys)
    assert np.all(np.isfinite(out)) and float(jnp.abs(out).max()) <= 1.0001


@pytest.mark.parametrize("batched", [True, False])
def test_a_plain_number_is_a_null_label(batched):
    """Labels stay whole numbers, which an embedding table asks for."""

    def apply(params, x, t, label):
        assert jnp.issubdtype(label.dtype, jnp.integer)
        return params[label][:, None] * x

    table = jnp.array([0.1, 0.2, 0.3])
    network = diffax.Network(apply, table, jnp.array([0, 1]), diffax.parameterization.Eps())
    x, point = jnp.ones((2, 4)), diffax.schedules.linear(10).at(5)
    guess = guidance.ClassifierFree(network, null=2, scale=2, batched=batched)(x, point)
    np.testing.assert_allclose(
        guess.eps[:, 0], [2 * 0.1 - 0.3, 2 * 0.2 - 0.3], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda n: guidance.ClassifierFree(n, jnp.zeros(4), float("nan")),
            "scale should be a fini",
        ),
        (lambda n: guidance.Guided(n, n, float("inf")), "scale should be a finite number, got inf"),
        (lambda n: guidance.Guided(n, n, rescale=1.5), "rescale should .* >= 0 and <= 1"),
        (lambda n: guidance.ClassifierFree(n, None, interval=(1.0,)), "interval should be"),
        (lambda n: guidance.Clip(n, 0), "limit should .* > 0, got 0.0"),
        (lambda n: guidance.DynamicThreshold(n, 99.5), "quantile should .* <= 1, got 99.5"),
    ],
)
def test_numbers_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(conditional_network())
