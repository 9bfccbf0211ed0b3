"""Gradients through whole runs, at the ends of the path too, where square roots are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import parameterization, schedules
from diffax.solvers import registry

SCHEDULE = schedules.linear(1000)
STEPS = 5
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# One name a family by default; the others, and the adaptive solver's long compilation, are slow.
FIRST = {e.make.__module__: name for name, e in reversed(registry.GAUSSIAN.items())}
NAMES = [
    name
    if FIRST[entry.make.__module__] == name and name != "rk45"
    else pytest.param(name, marks=pytest.mark.slow)
    for name, entry in registry.GAUSSIAN.items()
]


def network(params, x, t, condition):
    return params * jnp.tanh(x) + 1e-4 * t.reshape((-1,) + (1,) * (x.ndim - 1))


DENOISER = diffax.Network(network, 0.5, None, parameterization.V())
KEYS = diffax.sample_keys(0, 2)
NOISE = diffax.initial_noise(KEYS, (3,))


def grid_of(entry) -> diffax.Point:
    grid = diffax.time_grid(SCHEDULE, STEPS)
    return grid[::-1] if entry.description.backwards else grid


def total(solver, grid):
    return jnp.sum(diffax.sample(DENOISER, solver, grid, NOISE, KEYS))


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_is_finite(name):
    """With respect to eta, churn, ... and to every number of a grid that ends clean."""
    if name == "rk45":
        pytest.importorskip("diffrax", reason="diffrax is not installed")
    entry = registry.lookup(name)
    grid = grid_of(entry)
    gradient = jax.jit(jax.grad(total, argnums=(0, 1)), compiler_options=QUICK)
    # Noise at none, some and all of what there is room for.
    settings = [{"eta": eta} for eta in (0.0, 0.5, 1.0)] if "eta" in entry.options else [{}]
    if "churn" in entry.options:
        settings = [{}, {"churn": 1.0}]
    for options in settings:
        found = gradient(registry.build(name, SCHEDULE, **options), grid)
        for path, leaf in jax.tree_util.tree_leaves_with_path(found):
            assert np.all(np.isfinite(leaf)), (options, jax.tree_util.keystr(path))
    # They are not finite because nothing is there.
    assert np.any(np.asarray(found[1].sigma) != 0)


@pytest.mark.parametrize(
    "name",
    [
        "ddim",
        pytest.param("euler_ancestral", marks=pytest.mark.slow),  # DDIM's own step
        "kdpm2_ancestral",
        "dpmpp_2m_sde",
    ],
)
def test_gradient_in_eta_is_the_difference_quotient(name):
    with jax.enable_x64(True):
        schedule = schedules.linear(1000)
        points = diffax.time_grid(schedule, STEPS)
        noise = NOISE.astype(jnp.float64)

        def run(eta):
            solver = registry.build(name, schedule, eta=eta)
            return jnp.sum(diffax.sample(DENOISER, solver, points, noise, KEYS))

        slope = jax.jit(jax.grad(run), compiler_options=QUICK)
        run = jax.jit(run, compiler_options=QUICK)
        for eta in (0.3, 0.7):
            numeric = (run(eta + 1e-5) - run(eta - 1e-5)) / 2e-5
            np.testing.assert_allclose(slope(eta), numeric, rtol=1e-6)
        if name != "dpmpp_2m_sde":  # its noise grows as sqrt(eta), with an infinite slope at 0
            forward = (4 * run(1e-5) - run(2e-5) - 3 * run(0.0)) / 2e-5
            np.testing.assert_allclose(slope(0.0), forward, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("ddim", {}, marks=pytest.mark.slow),
        pytest.param("euler", {}, marks=pytest.mark.slow),
        ("dpmpp_2m", {"order": 1}),
        ("dpmpp_2m_sde", {"order": 1, "eta": 0.0}),
        pytest.param("dpm_2m", {"order": 1}, marks=pytest.mark.slow),
        pytest.param("dpmpp_2s", {"order": 1}, marks=pytest.mark.slow),
        ("unipc", {"order": 1, "correct_from": 9}),
        pytest.param("lms", {"order": 1}, marks=pytest.mark.slow),
    ],
)
def test_gradient_at_the_clean_end_is_that_of_the_first_order_step(name, options):
    """All of these are DDIM: `d x' / d sigma' = eps`, `d x' / d alpha' = x0` where sigma' is 0."""
    grid = grid_of(registry.lookup(name))
    guess = []

    def noting(x, point):
        guess.append(DENOISER(x, point))
        return guess[-1]

    with jax.disable_jit():
        diffax.sample(noting, diffax.solvers.DDIM(), grid, NOISE, KEYS)
    solver = registry.build(name, SCHEDULE, **options)
    found = jax.jit(jax.grad(total, argnums=1), compiler_options=QUICK)(solver, grid)
    # float32 sums of terms of size one.
    np.testing.assert_allclose(found.sigma[-1], jnp.sum(guess[-1].eps), atol=1e-5)
    np.testing.assert_allclose(found.alpha[-1], jnp.sum(guess[-1].x0), atol=1e-5)
