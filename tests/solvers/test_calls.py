"""Every solver asks the network as often as the registry says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import schedules
from diffax.solvers import registry

STEPS = 6
# Expensive to compile and stated by what it tries, not by the steps.
NAMES = [name for name, entry in registry.GAUSSIAN.items() if entry.description.count is not None]


def count_calls(solver, grid) -> int:
    """Calls made when the compiled program runs, not when it is traced."""
    data = diffax.mixture.GaussianMixture(jnp.zeros((1, 1)), jnp.ones(1), jnp.ones(1))
    calls = []

    def denoiser(x, point):
        jax.debug.callback(lambda: calls.append(None))
        return data(x, point)

    keys = diffax.sample_keys(0, 1)
    out = diffax.sample(denoiser, solver, grid, jnp.ones((1, 1)), keys)
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert np.all(np.isfinite(out))
    return len(calls)


@pytest.mark.parametrize("name", NAMES)
def test_network_calls_are_as_documented(name):
    schedule = schedules.linear(1000)
    grid = diffax.time_grid(schedule, STEPS, "leading")
    entry = registry.lookup(name)
    grid = grid[::-1] if entry.description.backwards else grid
    stated = entry.calls.replace("2 S", "2 * S").replace("S (", "S * (")
    wanted = eval(stated, {"S": STEPS} | entry.options)
    assert entry.count(STEPS) == wanted
    assert count_calls(registry.build(name, schedule), grid) == wanted


@pytest.mark.parametrize(
    ("name", "options"), [("langevin", {"corrections": 2}), ("ddim_inversion", {"refinements": 2})]
)
def test_more_corrections_and_refinements_cost_what_they_say(name, options):
    entry = registry.lookup(name)
    grid = diffax.time_grid(schedules.linear(1000), STEPS, "leading")
    grid = grid[::-1] if entry.description.backwards else grid
    assert entry.count(STEPS, **options) == 3 * STEPS
    assert count_calls(registry.build(name, **options), grid) == 3 * STEPS


def test_adaptive_steps_are_counted():
    pytest.importorskip("diffrax", reason="diffrax is not installed")
    schedule = schedules.linear(1000)
    grid = diffax.time_grid(schedule, 2, "karras")
    solver = diffax.solvers.RK45(schedule, rtol=1e-3, atol=1e-3)
    # Two calls choose the first step, one more ends in the clean jump.
    assert 10 < count_calls(solver, grid) < 200
