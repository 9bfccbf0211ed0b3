"""Averages against their closed forms, and any width put together afterwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from diffax.training import EMAConfig, ema


def averaged(config: EMAConfig, values: np.ndarray, batch_size: int = 1) -> dict[str, np.ndarray]:
    """Every average of a series of one-number parameters after each of its steps."""

    def step(average, item):
        n, value = item
        average = config.update(average, {"w": value}, n, batch_size)
        return average, average

    first = config.init({"w": jnp.zeros(())})
    n = jnp.arange(len(values))
    _, path = jax.lax.scan(step, first, (n, jnp.asarray(values, jnp.float32)))
    return {name: np.asarray(tree["w"]) for name, tree in path.items()}


def test_constant_decay_is_the_geometric_sum():
    values = np.random.default_rng(0).normal(size=50)
    got = averaged(EMAConfig(decays=(0.9,), warmup=False), values)["decay_0.9"]
    expected = sum(0.1 * 0.9 ** (49 - i) * v for i, v in enumerate(values))
    np.testing.assert_allclose(got[-1], expected, rtol=1e-5)


def test_warm_up_is_min_of_decay_and_one_plus_n_over_ten_plus_n():
    config = EMAConfig(decays=(0.99,))
    betas = [float(config.betas(jnp.int32(s), 1)["decay_0.99"]) for s in (0, 8, 89, 10_000)]
    np.testing.assert_allclose(betas, [2 / 11, 10 / 19, 91 / 100, 0.99], rtol=1e-6)


def test_averages_are_copies_until_they_begin():
    values = np.random.default_rng(0).normal(size=6)
    config = EMAConfig(decays=(0.9,), warmup=False, widths=(0.1,), copy_until=4)
    for path in averaged(config, values).values():
        np.testing.assert_allclose(path[:4], values[:4], rtol=1e-6)
    got = averaged(config, values)["decay_0.9"]
    np.testing.assert_allclose(got[4], 0.9 * values[3] + 0.1 * values[4], rtol=1e-5)


def test_half_life_in_images():
    config = EMAConfig(decays=(), half_lives=(1000.0,), ramp=None)
    steps = np.concatenate([np.ones(1), np.zeros(50)])  # one impulse, then 50 steps of 20 images
    got = averaged(config, steps, batch_size=20)["half_life_1000"]
    np.testing.assert_allclose(got[-1] / got[0], 0.5, rtol=1e-5)


def test_half_life_ramps_up_with_the_images_seen():
    config = EMAConfig(decays=(), half_lives=(1000.0,), ramp=0.05)
    # After 100 steps of 10 images: half-life min(1000, 1000 x 5 %) = 50 images, 5 steps.
    beta = float(config.betas(jnp.int32(99), 10)["half_life_1000"])
    np.testing.assert_allclose(beta**5, 0.5, rtol=1e-5)


@pytest.mark.parametrize("width, gamma", [(0.05, 16.97), (0.10, 6.94), (12**-0.5, 0.0)])
def test_published_exponents(width, gamma):
    # Karras et al. 2024, section 3.1: sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94.
    assert ema.power_exponent(width) == pytest.approx(gamma, abs=0.005)
    assert ema.power_width(ema.power_exponent(width)) == pytest.approx(width, rel=1e-9)


def test_width_is_the_profiles_standard_deviation():
    gamma = ema.power_exponent(0.08)

    def profile(t):
        return (gamma + 1) * t**gamma

    mean = quad(lambda t: t * profile(t), 0, 1)[0]
    variance = quad(lambda t: (t - mean) ** 2 * profile(t), 0, 1)[0]
    assert variance**0.5 == pytest.approx(0.08, rel=1e-6)


def test_power_function_average_follows_its_profile():
    config = EMAConfig(decays=(), widths=(0.1,))
    gamma, steps = ema.power_exponent(0.1), 2000
    values = np.sin(np.arange(steps) / 100)
    got = averaged(config, values)["power_0.1"][-1]
    t = (np.arange(steps) + 0.5) / steps
    expected = ((gamma + 1) * t**gamma * values).mean()
    np.testing.assert_allclose(got, expected, atol=2e-3)  # the continuous limit, O(1/steps)


def test_power_beta_is_exact_after_many_steps():
    n = 10_000_000
    exact = np.exp(7.94 * np.log1p(-1 / n))
    assert float(ema.power_beta(jnp.float32(n), 6.94)) == pytest.approx(exact, abs=6e-8)
    assert float(ema.power_beta(jnp.float32(1), 6.94)) == 0


@pytest.mark.parametrize("a, b", [((1.0, 6.94), (1.0, 16.97)), ((0.4, 6.94), (1.0, 3.0)),
                                  ((1.0, 2.0), (0.7, 16.97))])  # fmt: skip
def test_inner_products_of_profiles(a, b):
    def profile(t, end, gamma):
        return (gamma + 1) * t**gamma / end ** (gamma + 1)

    end = min(a[0], b[0])
    expected = quad(lambda t: profile(t, *a) * profile(t, *b), 0, end)[0]
    got = ema.profile_products([a[0]], [a[1]], [b[0]], [b[1]])
    assert got.shape == (1, 1)
    assert got[0, 0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("width", [0.03, 0.07, 0.15, 0.22])
def test_any_width_afterwards(width):
    # A random walk, as parameters make one; two tracked widths, 40 snapshots of each.
    steps, every = 4000, 100
    walk = np.random.default_rng(1).normal(size=steps).cumsum() / np.sqrt(steps)
    config = EMAConfig(decays=(), widths=(0.05, 0.1, width))
    path = averaged(config, walk)
    snapshots = [(s, w) for s in range(every, steps + 1, every) for w in (0.05, 0.1)]
    weights = ema.reconstruction_weights(
        [s for s, _ in snapshots],
        [ema.power_exponent(w) for _, w in snapshots],
        steps,
        ema.power_exponent(width),
    )
    assert weights.sum() == pytest.approx(1, abs=2e-3)  # an average of averages
    got = sum(k * path[f"power_{w:g}"][s - 1] for k, (s, w) in zip(weights, snapshots, strict=True))
    wanted = path[f"power_{width:g}"][-1]
    spread = np.ptp(walk)
    assert abs(got - wanted) < 5e-3 * spread
    nearest = min(abs(path[f"power_{w:g}"][-1] - wanted) for w in (0.05, 0.1))
    assert abs(got - wanted) < 0.2 * nearest  # and far better than what was tracked


def test_reconstruction_gives_back_what_was_tracked():
    gammas = [ema.power_exponent(w) for w in (0.05, 0.1)]
    weights = ema.reconstruction_weights([50, 50, 100, 100], gammas * 2, 100, gammas[1])
    np.testing.assert_allclose(weights, [0, 0, 0, 1], atol=1e-6)


def test_bad_values_are_refused():
    for bad in (
        dict(decays=(1.0,)),
        dict(half_lives=(0.0,)),
        dict(widths=(0.3,)),
        dict(ramp=0.0),
        dict(copy_until=-1),
        dict(ramp=0.1),  # of half-lives that there are not
        dict(decays=(), half_lives=(9.0,), warmup=False),
        dict(decays=(), copy_until=3),
    ):
        with pytest.raises(ValueError, match="ema"):
            EMAConfig(**bad)
    with pytest.raises(ValueError, match="differ"):
        EMAConfig(decays=(0.9, 0.9))
    with pytest.raises(ValueError, match="snapshots"):
        ema.reconstruction_weights([10], [6.94], 20, 6.94)
