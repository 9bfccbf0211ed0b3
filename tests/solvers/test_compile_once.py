"""Other numbers run the same compiled program, whatever the solver."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import guidance, parameterization, schedules
from diffax.noun import is_number
from diffax.solvers import registry

SCHEDULE = schedules.linear(1000)


def network_apply(params, x, t, condition):
    """A network that uses everything it is told."""
    label, prompt = condition
    told = (0.1 * label + prompt.mean(axis=1))[:, None, None, None]
    return params * jnp.tanh(x + told) + 1e-4 * t[:, None, None, None]


def test_twenty_settings_compile_once():
    """Guidance, eta, strength, label, prompt embedding and mask all change; one compilation."""
    random = np.random.default_rng(0)
    whole = diffax.time_grid(SCHEDULE, 5)
    keys = diffax.sample_keys(0, 2)
    traces = []

    @jax.jit
    def run(denoiser, solver, grid, known):
        traces.append(None)
        return diffax.sample(
            denoiser, solver, grid, diffax.sampling.noised(known, grid, keys), keys
        )

    results = []
    for number in range(20):
        label = random.integers(0, 10, 2).astype(np.int32)
        prompt = random.normal(size=(2, 7, 4)).astype(np.float32)[..., 0]
        network = diffax.Network(network_apply, 0.3, (label, prompt), parameterization.Eps())
        # Whole numbers too: 1 and 1.5 are the same type to the program.
        scale = number if number % 2 else 1.5 * number
        denoiser = guidance.ClassifierFree(network, (np.full(2, 10), np.zeros((2, 7))), scale)
        known = random.normal(size=(2, 4, 4, 1)).astype(np.float32)
        mask = (random.uniform(size=(1, 4, 4, 1)) < 0.5).astype(np.float32)
        eta = (number % 3) / 2 if number % 4 else 1
        solver = diffax.sampling.Inpainting(diffax.solvers.DDIM(eta), known, mask)
        grid = diffax.sampling.shortened(SCHEDULE, whole, 0.3 + 0.03 * number)
        results.append(np.asarray(run(denoiser, solver, grid, known)))
    assert len(traces) == 1
    assert run._cache_size() == 1
    assert len({result.tobytes() for result in results}) == 20


@pytest.mark.parametrize("name", [n for n in registry.GAUSSIAN if n not in ("pndm", "rk45")])
def test_grid_values_and_options_do_not_recompile(name):
    entry = registry.lookup(name)
    traces = []
    keys = diffax.sample_keys(0, 2)
    x = jnp.ones((2, 3))
    data = diffax.mixture.GaussianMixture(jnp.zeros((1, 3)), jnp.ones(1), jnp.ones(1))

    def run(solver, grid):
        traces.append(None)
        # The solver's table and one step, without the whole program: what is traced is the same.
        return solver.step(data, x, solver.init(x, grid), grid[0], grid[1], keys)[0]

    jitted = jax.jit(run)
    for low in (0.0, 100.0, 200.0):
        grid = SCHEDULE.at(np.linspace(999, low, 5))
        options = {"eta": low / 300} if "eta" in entry.options else {}
        jitted.trace(registry.build(name, SCHEDULE, **options), grid)
    assert len(traces) == 1


def number_options(name: str) -> list[str]:
    """The options that are numbers of the program, not structure."""
    entry = registry.lookup(name)
    fields = {f.name: f for f in dataclasses.fields(entry.make)}
    return [option for option in entry.options if is_number(fields[option])]


@pytest.mark.parametrize("name", [n for n in registry.GAUSSIAN if number_options(n)])
def test_another_type_of_the_same_number_does_not_recompile(name):
    """1, 1.0, NumPy's scalars and arrays, and JAX's arrays are one kind of number."""
    traces = []

    @jax.jit
    def run(solver):
        traces.append(None)
        return jax.tree.leaves(solver)

    kinds = (int, float, np.float32, np.float64, np.int64, np.asarray, jnp.float32, jnp.asarray)
    for kind in kinds:
        options = {option: kind(1.0) for option in number_options(name)}
        run.trace(registry.build(name, **needed(name), **options))
    assert len(traces) == 1


def needed(name: str) -> dict:
    return {"schedule": SCHEDULE} if registry.lookup(name).takes_schedule else {}
