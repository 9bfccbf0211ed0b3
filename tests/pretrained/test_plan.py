"""Where a run begins: strength, the whole run it is the end of, and diffusers' rule for both."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import diffax
from diffax.pretrained.plan import plan, whole_run

sys.path.insert(0, str(Path(__file__).parents[1] / "solvers"))
import golden

STABLE_DIFFUSION = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
# The first three once went wrong: S is not the rounded int(S * s) / s.
RUNS = [(10, 0.75), (7, 0.55), (10, 0.37), (50, 0.8), (30, 0.3), (20, 0.999), (4, 1.0), (25, 0.04)]
DDIM = {"_class_name": "DDIMScheduler", **STABLE_DIFFUSION, "steps_offset": 1}


@pytest.mark.parametrize(("total", "strength"), RUNS)
def test_the_documented_call_takes_the_last_times_of_the_whole_run(total, strength):
    steps = int(total * strength)
    whole = plan(DDIM, total).grid
    part = plan(DDIM, steps, strength=strength, total=total).grid
    np.testing.assert_array_equal(part.t, whole.t[total - steps :])


def test_a_run_without_a_total_is_the_shortest_that_diffusers_would_cut_so():
    for strength in np.linspace(0.01, 1, 100):
        for steps in range(1, 40):
            total = whole_run(steps, strength)
            assert int(total * strength) == steps
            assert total == steps or int((total - 1) * strength) < steps
            assert abs(total - np.ceil(steps / strength)) <= 1


@pytest.mark.parametrize(
    ("steps", "given", "message"),
    [
        (5, {"strength": 0.75, "total": 10}, "strength 0.75 leaves 7, got steps=5"),
        (5, {"total": 10}, "strength 1.0 leaves 10, got steps=5"),
        (0, {}, "steps must be at least 1, got 0"),
        (600, {"strength": 0.5}, "600 steps at strength 0.5 are the last of 1200"),
    ],
)
def test_runs_that_cannot_be(steps, given, message):
    with pytest.raises(ValueError, match=message):
        plan(DDIM, steps, **given)


def test_the_whole_runs_length_decides_whether_the_last_orders_are_lowered():
    file = {**STABLE_DIFFUSION, "_class_name": "DPMSolverMultistepScheduler"}
    assert not plan(file, 10, strength=0.5).solver.lower_order_final
    assert plan(file, 7, strength=0.5).solver.lower_order_final
    assert plan(file, 20).solver.lower_order_final


def test_a_solver_of_the_users_own_stays_as_it_is():
    solver = diffax.solvers.DPMSolverPP(order=3)
    assert plan(DDIM, 10, sampler=solver, strength=0.5).solver is solver


# All but PNDM, LMS and singlestep DPM-Solver, which `docs/pretrained.md` lists as different.
SCHEDULERS = [
    ("DDIMScheduler", {"steps_offset": 1, "clip_sample": False}),
    ("DDPMScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"}),
    ("DEISMultistepScheduler", {}),
    ("UniPCMultistepScheduler", {"solver_order": 3, "disable_corrector": [0, 1]}),
    ("LCMScheduler", {}),
]


@pytest.mark.parity
@pytest.mark.parametrize(("name", "options"), SCHEDULERS)
@pytest.mark.parametrize(("total", "strength"), [*RUNS[:3], (20, 0.6)])
def test_image_to_image_is_diffusers(name, options, total, strength):
    """Its pipelines' own rule: cut the list of times, say where it begins, run what is left."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    make = golden.load("make")
    file = {**STABLE_DIFFUSION, "_class_name": name, **options}
    steps = min(int(total * strength), total)
    with jax.enable_x64(True):
        setup = plan(file, steps, strength=strength, total=total)
        first, seen = setup.grid[0], []

        def cut(scheduler, eta, dtype, network, start):
            begin = (total - steps) * scheduler.order
            scheduler.timesteps, whole = scheduler.timesteps[begin:], scheduler.timesteps
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(begin)
            seen.extend(float(t) for t in scheduler.timesteps)
            times, scheduler.timesteps = scheduler.timesteps, whole
            x = torch.tensor(golden.cases.START, dtype=dtype)
            image = torch.full_like(x, 0.3)
            x = scheduler.add_noise(image, x, times[:1])
            for t in times:
                shown = scheduler.scale_model_input(x, t)
                output = network(shown.to(dtype), t.to(dtype), torch).to(dtype)
                x = scheduler.step(output, t, x).prev_sample
            return x

        make.loop = cut
        theirs = make.run(file, total, double=True).ravel()
        noise = np.moveaxis(golden.cases.START, 1, -1)
        tape = np.moveaxis(golden.cases.NOISE, 2, -1)[:steps]
        tape = diffax.solvers.NoiseTape(jax.numpy.moveaxis(tape, 0, 1))
        network = diffax.Network(golden._apply, None, None, setup.parameterization)
        x = first.alpha * 0.3 + first.sigma * noise
        ours = diffax.sample(setup.limits(network), setup.solver, setup.grid, x, tape)
        if isinstance(setup.solver, diffax.solvers.Euler):
            ours = ours / setup.grid.alpha[-1]
    # Heun and its like ask the network twice a step: every time but the first comes twice.
    own = set(float(t) for t in setup.grid.t[:-1])
    assert own <= set(seen) if name.startswith("KDPM2") else own == set(seen)
    np.testing.assert_allclose(np.ravel(ours), theirs, rtol=1e-8, atol=1e-8)
