"""DDPM and DDIM on data whose denoiser is known in closed form."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import schedules
from diffax.parameterization import Eps, Prediction
from diffax.solvers.keys import fold_in, normal

MEAN, STD = 0.4, 0.3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianDenoiser:
    """E[x_0 | x_t] for data N(mean, std^2)."""

    mean: float = MEAN
    std: float = STD

    def __call__(self, x, point):
        at = point.broadcast(x)
        total = at.alpha**2 * self.std**2 + at.sigma**2
        x0 = self.mean + at.alpha * self.std**2 / total * (x - at.alpha * self.mean)
        return Prediction(x0, (x - at.alpha * x0) / jnp.where(at.sigma > 0, at.sigma, 1.0))


run = jax.jit(diffax.sample, static_argnames="trajectory")


def test_ddim_at_eta_one_is_ddpm_with_the_small_variance():
    schedule = schedules.linear(1000)
    grid = diffax.time_grid(schedule, 25)
    keys = diffax.sample_keys(0, 16)
    x = diffax.initial_noise(keys, (3,))
    ddim = run(GaussianDenoiser(), diffax.solvers.DDIM(eta=1.0), grid, x, keys)
    ddpm = run(GaussianDenoiser(), diffax.solvers.DDPM("fixed_small"), grid, x, keys)
    np.testing.assert_allclose(ddim, ddpm, atol=2e-6)


def exact_moments(grid, variance_of_step):
    """Mean and variance that a linear-Gaussian sampler must end with, in float64."""
    alpha, sigma = np.asarray(grid.alpha, np.float64), np.asarray(grid.sigma, np.float64)
    mean, var = 0.0, 1.0
    for i in range(len(alpha) - 1):
        a, s, b, r = alpha[i], sigma[i], alpha[i + 1], sigma[i + 1]
        spread2 = variance_of_step(a, s, b, r)
        gain = a * STD**2 / (a**2 * STD**2 + s**2)
        # x0 = gain x + rest, eps = (x - a x0) / s; x' = b x0 + d eps + noise
        rest = MEAN * (1 - gain * a)
        d = np.sqrt(max(r**2 - spread2, 0))
        scale = b * gain + d * (1 - a * gain) / s
        shift = b * rest - d * a * rest / s
        mean, var = scale * mean + shift, scale**2 * var + spread2 * (r > 0)
    return mean, var


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
def test_ddim_has_its_exact_moments_at_every_eta(eta):
    """The sampler is linear here: its own mean and variance are known at 20 coarse steps."""
    schedule = schedules.linear(1000)
    grid = diffax.time_grid(schedule, 20)
    n = 40_000
    keys = diffax.sample_keys(1, n)
    x = diffax.initial_noise(keys, (1,))
    out = np.asarray(
        run(GaussianDenoiser(), diffax.solvers.DDIM(eta=eta), grid, x, keys), np.float64
    )
    small = lambda a, s, b, r: eta**2 * r**2 * (1 - (a * r / (b * s)) ** 2)
    mean, var = exact_moments(grid, small)
    assert abs(out.mean() - mean) < 5 * (var / n) ** 0.5
    assert abs(out.var() / var - 1) < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize(
    "eta", [*(pytest.param(eta, marks=pytest.mark.slow) for eta in (0.0, 0.5)), 1.0]
)
def test_at_many_steps_the_datas_own_moments_come_out(eta):
    schedule = schedules.cosine(1000)
    grid = diffax.time_grid(schedule, 1000)
    n = 10_000
    keys = diffax.sample_keys(2, n)
    x = diffax.initial_noise(keys, (1,))
    out = np.asarray(
        run(GaussianDenoiser(), diffax.solvers.DDIM(eta=eta), grid, x, keys), np.float64
    )
    # 5 standard errors, and the discretization of 1000 first-order steps (under 1 %).
    assert abs(out.mean() - MEAN) < 5 * STD / n**0.5 + 0.003
    assert abs(out.std() / STD - 1) < 5 * (0.5 / n) ** 0.5 + 0.01


def test_large_variance_is_right_for_standard_normal_data():
    """Ho et al. 2020, section 3.2: beta is optimal for x_0 ~ N(0, I)."""
    grid = diffax.time_grid(schedules.linear(1000), 10)
    n = 40_000
    keys = diffax.sample_keys(3, n)
    x = diffax.initial_noise(keys, (1,))
    denoiser = GaussianDenoiser(0.0, 1.0)
    states = run(denoiser, diffax.solvers.DDPM("fixed_large"), grid, x, keys, trajectory=True)[1]
    for state in states[:-1]:  # the last step adds no noise
        assert abs(np.asarray(state).var() - 1) < 5 * (2 / n) ** 0.5 + 1e-3


def test_given_variances_are_used_step_by_step():
    grid = diffax.time_grid(schedules.linear(1000), 5)
    keys = diffax.sample_keys(0, 4)
    x = diffax.initial_noise(keys, (2,))
    _, large = diffax.gaussian.interval(grid[:-1], grid[1:])
    one = run(GaussianDenoiser(), diffax.solvers.DDPM("fixed_large"), grid, x, keys)
    two = run(GaussianDenoiser(), diffax.solvers.DDPM("given", given=large), grid, x, keys)
    np.testing.assert_allclose(one, two, rtol=1e-6)
    with pytest.raises(ValueError, match="each of the 5 steps"):
        diffax.sample(GaussianDenoiser(), diffax.solvers.DDPM("given", jnp.ones(4)), grid, x, keys)


def test_ddim_is_first_order():
    """Error of the deterministic sampler against the exact map of the probability-flow ODE."""
    schedule = schedules.linear(1000)
    x = jnp.linspace(-2, 2, 9)[:, None]
    keys = diffax.sample_keys(0, 9)
    start = schedule.start
    # For Gaussian data the flow keeps the standardized value.
    total = (start.alpha**2 * STD**2 + start.sigma**2) ** 0.5
    exact = MEAN + STD * (x - start.alpha * MEAN) / total
    steps = np.array([25, 50, 100, 200])
    errors = []
    for s in steps:
        out = run(
            GaussianDenoiser(), diffax.solvers.DDIM(), diffax.time_grid(schedule, int(s)), x, keys
        )
        errors.append(np.sqrt(np.mean((np.asarray(out) - np.asarray(exact)) ** 2)))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -1.25 < slope < -0.75


def test_sample_i_depends_on_seed_and_i_only():
    schedule = schedules.cosine(100)
    grid = diffax.time_grid(schedule, 10)
    solver = diffax.solvers.DDIM(eta=1.0)

    def draw(num, start=0):
        keys = diffax.sample_keys(7, num, start)
        return run(GaussianDenoiser(), solver, grid, diffax.initial_noise(keys, (2, 2, 1)), keys)

    whole = draw(6)
    np.testing.assert_allclose(whole[:2], draw(2), rtol=1e-6)
    np.testing.assert_allclose(whole[4:], draw(2, start=4), rtol=1e-6)
    assert np.abs(whole[0] - whole[1]).min() > 1e-3


def test_steps_and_start_use_different_noise():
    keys = diffax.sample_keys(0, 2000)
    start = diffax.initial_noise(keys, (1,))
    first, second = (normal(fold_in(keys, i), start) for i in (0, 1))
    table = np.corrcoef(np.concatenate([start, first, second], axis=1).T)
    assert np.abs(table - np.eye(3)).max() < 5 / 2000**0.5


def test_one_compilation_for_every_value():
    traces = []

    def apply(params, x, t, condition):
        traces.append(1)
        return params * x * condition[:, None]

    schedule = schedules.linear(1000)
    keys = diffax.sample_keys(0, 4)
    x = diffax.initial_noise(keys, (3,))
    fresh = jax.jit(lambda *args: diffax.sample(*args))
    outs = []
    for i in range(5):
        network = diffax.Network(apply, 0.1 + 0.1 * i, jnp.full(4, 1.0 * i), Eps())
        guided = diffax.guidance.ClassifierFree(network, jnp.zeros(4), scale=1.0 + i)
        grid = diffax.time_grid(schedule, 8, "leading" if i % 2 else "trailing")
        outs.append(fresh(guided, diffax.solvers.DDIM(eta=0.2 * i), grid, x, keys))
    assert fresh._cache_size() == 1 and len(traces) == 1
    assert len({float(jnp.sum(o)) for o in outs}) == 5


def test_gradient_reaches_the_guidance_scale_through_the_loop():
    schedule = schedules.linear(1000)
    keys = diffax.sample_keys(0, 2)
    x = diffax.initial_noise(keys, (3,))
    grid = diffax.time_grid(schedule, 6)
    network = diffax.Network(lambda p, x, t, c: x * c[:, None], None, jnp.ones(2) * 0.5, Eps())

    def total(scale):
        guided = diffax.guidance.ClassifierFree(network, jnp.zeros(2), scale)
        return jnp.sum(diffax.sample(guided, diffax.solvers.DDIM(), grid, x, keys) ** 2)

    slope = jax.grad(total)(1.5)
    numeric = (total(1.51) - total(1.49)) / 0.02
    np.testing.assert_allclose(slope, numeric, rtol=1e-2)


def test_trajectory_goes_from_the_start_to_the_samples():
    grid = diffax.time_grid(schedules.linear(100), 7)
    keys = diffax.sample_keys(0, 3)
    x = diffax.initial_noise(keys, (2,))
    samples, states = run(GaussianDenoiser(), diffax.solvers.DDIM(), grid, x, keys, trajectory=True)
    assert states.shape == (8, 3, 2)
    np.testing.assert_array_equal(states[0], x)
    np.testing.assert_array_equal(states[-1], samples)


def test_grids():
    schedule = schedules.linear(1000)
    times = lambda steps, spacing: [int(t) for t in diffax.time_grid(schedule, steps, spacing).t]
    assert times(10, "trailing") == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99, -1]
    assert times(10, "leading") == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1]
    assert times(10, "linspace") == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0, -1]
    # Song et al. 2021, appendix D.2: floor(linspace(0, sqrt(0.8 T), S)^2).
    assert times(5, "quadratic") == [800, 450, 200, 50, 0, -1]
    assert times(1000, "trailing") == list(range(999, -2, -1))


@pytest.mark.parametrize(
    "steps, spacing, message",
    [(0, "trailing", "at least 1"), (1001, "trailing", "1 .. 1000"), (5, "karas", "karas")],
)
def test_impossible_grids_are_refused(steps, spacing, message):
    with pytest.raises(ValueError, match=message):
        diffax.time_grid(schedules.linear(1000), steps, spacing)


def test_wrong_keys_and_empty_grids_are_refused():
    grid = diffax.time_grid(schedules.linear(100), 3)
    x = jnp.zeros((2, 1))
    with pytest.raises(ValueError, match="one key a sample"):
        diffax.sample(GaussianDenoiser(), diffax.solvers.DDIM(), grid, x, diffax.sample_keys(0, 3))
    with pytest.raises(ValueError, match="at least 2 points"):
        diffax.sample(
            GaussianDenoiser(), diffax.solvers.DDIM(), grid[:1], x, diffax.sample_keys(0, 2)
        )
    with pytest.raises(ValueError, match="fixed_small"):
        diffax.solvers.DDPM("fixed_medium")


def test_the_last_step_is_noisy_where_it_is_asked_for():
    """With fixed-large variance the last step's is beta_0: here of one step from data known."""
    schedule = schedules.linear(10, 0.04, 0.3)
    grid = diffax.time_grid(schedule, 10)[-2:]
    keys = diffax.sample_keys(0, 20_000)
    x, ddpm = jnp.full((20_000, 1), 0.5), partial(diffax.solvers.DDPM, "fixed_large")
    quiet, noisy = (
        run(GaussianDenoiser(std=0.0), ddpm(last_noise=on), grid, x, keys) for on in (False, True)
    )
    np.testing.assert_allclose(quiet, MEAN, atol=1e-5)
    # Standard errors of 20,000 draws: 0.2 / sqrt(20000), and of a variance, relative, 0.01.
    np.testing.assert_allclose(noisy.mean(), MEAN, atol=5 * 0.2 / 20_000**0.5)
    np.testing.assert_allclose(noisy.var(), 0.04, rtol=0.05)
