"""Stochastic solvers give the exact mean and variance of Gaussian data (chi-square tests).

Two kinds of data. With a point mass the guess of x0 is exact, so every solver here that keeps
`q(x_t | x_0)` must give it *exactly*, after any number of steps and at any eta: 10 will do.
With spread data a finite step is an approximation; there enough steps are taken to put its bias
under the noise of 1e5 samples.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffax
from diffax.solvers import registry

SAMPLES = 100_000
SCHEDULE = diffax.schedules.VP()
# Under every correct solver a p-value is uniform; a test fails once in ten thousand runs of new
# seeds, and the seed is fixed.
LEAST_P = 1e-4


def p_values(x: np.ndarray, mean: float, variance: float) -> tuple[float, float]:
    """Two-sided chi-square p-values of the sample's mean and variance."""
    n = x.size
    of_mean = stats.chi2.sf(n * (x.mean() - mean) ** 2 / variance, df=1)
    squares = np.sum((x - mean) ** 2) / variance
    of_variance = 2 * min(stats.chi2.sf(squares, df=n), stats.chi2.cdf(squares, df=n))
    return float(of_mean), float(min(of_variance, 1.0))


@partial(jax.jit, static_argnames="size")
def run(solver, grid, data, seed, size=SAMPLES):
    """Final states, `[SAMPLES / D, D]` of D-dimensional data with independent coordinates."""
    dimensions = data.means.shape[1]
    keys = diffax.sample_keys(jax.random.key(seed), size // dimensions)
    eps = diffax.initial_noise(keys, (dimensions,))
    # Start from the exact marginal.
    own = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 77), (dimensions,)))(keys)
    x0 = data.means[0, 0] + data.stds[0] * own
    return diffax.sample(data, solver, grid, diffax.gaussian.q_sample(x0, eps, grid[0]), keys)


def gaussian_data(mean: float, std: float, name: str = "") -> diffax.mixture.GaussianMixture:
    """Normal data; of many dimensions for Langevin dynamics, whose step size is made for them."""
    dimensions = 100 if name == "langevin" else 1
    return diffax.mixture.GaussianMixture(
        jnp.full((1, dimensions), mean), jnp.array([std]), jnp.ones(1)
    )


def grid(steps: int, low: float = 0.05, high: float = 20.0) -> diffax.Point:
    levels = np.exp(np.linspace(np.log(high), np.log(low), steps + 1))
    return SCHEDULE.at_logsnr(-2 * np.log(levels))


def setting(name: str) -> tuple[diffax.schedules.Schedule, diffax.Point]:
    """A schedule and 10 steps on it that suit a solver."""
    if registry.lookup(name).description.needs_table:
        schedule = diffax.schedules.linear(1000)
        return schedule, schedule.at(np.linspace(999, 99, 11))
    return SCHEDULE, grid(10)


EXACT = [
    ("ddpm", {}),
    ("ddim", {"eta": 0.3}),
    ("ddim", {"eta": 1.0}),
    ("euler_ancestral", {"eta": 0.7}),
    ("euler", {"churn": 3.0}),
    ("heun", {"churn": 3.0}),
    ("heun", {"churn": 40.0}),
    ("kdpm2_ancestral", {"eta": 0.5}),
    ("kdpm2_ancestral", {"eta": 1.0}),
    ("dpmpp_2m_sde", {"eta": 0.5}),
    ("dpmpp_2m_sde", {"eta": 1.0}),
    ("dpmpp_2s", {"stochastic": True}),
    ("tcd", {"eta": 0.3}),
    ("tcd", {"eta": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), EXACT)
def test_point_mass_has_exact_marginals_in_10_steps(name, options):
    schedule, points = setting(name)
    solver = registry.build(name, schedule, **options)
    x = np.asarray(run(solver, points, gaussian_data(0.7, 0.0), 1), np.float64)[:, 0]
    mean, variance = 0.7 * float(points.alpha[-1]), float(points.sigma[-1]) ** 2
    assert min(p_values(x, mean, variance)) > LEAST_P, (x.mean() - mean, x.var() / variance)


SPREAD = [
    ("ddpm", {}, 1000),
    ("ddpm", {"variance": "fixed_large"}, 1000),
    ("ddim", {"eta": 0.5}, 1000),
    ("ddim", {"eta": 1.0}, 1000),
    ("euler", {"churn": 20.0}, 1000),
    ("heun", {"churn": 0.0}, 200),
    ("heun", {"churn": 20.0}, 400),
    ("heun", {"churn": 80.0}, 400),
    ("kdpm2_ancestral", {"eta": 1.0}, 1000),
    ("dpmpp_2m_sde", {"eta": 0.5}, 400),
    ("dpmpp_2m_sde", {"eta": 1.0}, 400),
    ("dpmpp_2s", {"stochastic": True}, 1600),
    ("sde_dpm_2m", {}, 1000),
    ("langevin", {"snr": 0.02}, 1000),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "steps"), SPREAD)
def test_gaussian_data_have_exact_mean_and_variance(name, options, steps):
    check_spread(name, options, steps, SAMPLES)


def check_spread(name, options, steps, size):
    solver = registry.build(name, SCHEDULE, **options)
    points = grid(steps)
    data = gaussian_data(0.7, 0.4, name)
    x = np.asarray(run(solver, points, data, 2, size=size), np.float64).ravel()
    alpha, sigma = float(points.alpha[-1]), float(points.sigma[-1])
    mean, variance = 0.7 * alpha, (0.4 * alpha) ** 2 + sigma**2
    assert min(p_values(x, mean, variance)) > LEAST_P, (x.mean() - mean, x.var() / variance)


# With 20,000 samples the bias of fewer steps is under the noise too.
@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("sde_dpm_2m", {}, 300),
        pytest.param("langevin", {"snr": 0.02}, 300, marks=pytest.mark.slow),
    ],
)
def test_solvers_that_are_never_exact_have_the_right_mean_and_variance(name, options, steps):
    check_spread(name, options, steps, 20_000)


def test_every_stochastic_solver_is_in_a_table():
    """But those of distilled models, whose guess is no mean."""
    noisy = {e.make for e in registry.GAUSSIAN.values() if e.description.stochastic}
    measured = {registry.lookup(name).make for name, *_ in EXACT + SPREAD}
    assert noisy - measured == {diffax.solvers.LCM, diffax.solvers.Consistency}


def test_the_chi_square_test_can_fail():
    """Five DDIM steps shrink spread data's variance; the test sees it."""
    points = grid(5)
    x = run(registry.build("ddim"), points, gaussian_data(0.7, 0.4), 3, size=20_000)
    alpha, sigma = float(points.alpha[-1]), float(points.sigma[-1])
    variance = (0.4 * alpha) ** 2 + sigma**2
    assert min(p_values(np.asarray(x, np.float64)[:, 0], 0.7 * alpha, variance)) < 1e-12


def test_sample_i_depends_on_seed_and_i_only():
    data, points = gaussian_data(0.7, 0.4), grid(10)
    few = run(registry.build("ddpm"), points, data, 4, size=3)
    many = run(registry.build("ddpm"), points, data, 4, size=8)
    np.testing.assert_array_equal(few, many[:3])
