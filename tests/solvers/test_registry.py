"""Solvers by name."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import parameterization, schedules, solvers
from diffax.pretrained.plan import SCHEDULERS
from diffax.pretrained.schedulers.classes import CLASSES
from diffax.sampling import check_combination
from diffax.solvers import registry

LINEAR = schedules.linear(1000)
PURE = schedules.zero_terminal_snr(LINEAR)


def test_every_solver_is_described_in_one_line():
    text = registry.describe()
    assert len(text.splitlines()) == len(registry.SOLVERS)
    for name in registry.SOLVERS:
        assert name in text
        assert "\n" not in registry.describe(name)
        assert all(len(line) < 120 for line in text.splitlines())


def test_every_solver_class_has_a_name():
    classes = {entry.make for entry in registry.SOLVERS.values()}
    public = {
        value
        for value in vars(diffax.solvers).values()
        if dataclasses.is_dataclass(value) and hasattr(value, "step") and hasattr(value, "init")
    }
    assert public == classes


@pytest.mark.parametrize("name", registry.SOLVERS)
def test_every_name_builds(name):
    solver = registry.build(name, schedule=LINEAR)
    assert isinstance(solver, registry.lookup(name).make)


@pytest.mark.parametrize("name", registry.SOLVERS)
def test_every_plain_option_has_a_range_and_keeps_it(name):
    entry, ranges = registry.lookup(name), registry.option_ranges(name)
    unplain = {"given", "predictor"}
    assert set(ranges) | unplain == set(entry.options) | unplain
    for option, stated in ranges.items():
        # No option of any type can be this.
        with pytest.raises(ValueError, match=f"^{option} should be {re.escape(stated.range)}, got"):
            registry.build(name, LINEAR, **{option: complex(0, 1)})
        if not stated.optional:
            with pytest.raises(ValueError, match=option):
                registry.build(name, LINEAR, **{option: None})


def test_arrays_of_the_program_are_not_judged():
    assert np.isnan(registry.build("ddim", eta=jnp.array(jnp.nan)).eta)
    jax.jit(lambda eta: registry.build("ddim", eta=eta).eta)(-1.0)


def test_all_options_are_ready_for_a_command_line():
    found = registry.all_options()
    assert set(found) == {o for name in registry.SOLVERS for o in registry.option_ranges(name)}
    for name, (kind, text) in found.items():
        assert kind in (float, int, str, bool) and "\n" not in text, name
    assert found["order"][0] is int and "lms: 1 .. 4" in found["order"][1]
    assert found["eta"][0] is float and "tcd: in [0, 1]" in found["eta"][1]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("DPM++ 2M", ("dpmpp_2m", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Exponential", ("dpmpp_2m_sde", "exponential")),
        ("DPM++ 3M", ("dpmpp_3m", None)),
        ("Euler a", ("euler_ancestral", None)),
        ("k_euler_ancestral", ("euler_ancestral", None)),
        ("sample_dpmpp_2m", ("dpmpp_2m", None)),
        ("Euler SGM Uniform", ("euler", "trailing")),
        ("DPM2 a Karras", ("kdpm2_ancestral", "karras")),
        ("UniPC", ("unipc", None)),
        ("DPMSolverMultistepScheduler", ("dpmpp_2m", None)),
        ("FlaxDDIMScheduler", ("ddim", None)),
        ("FlowMatchHeunDiscreteScheduler", ("flow_heun", None)),
    ],
)
def test_other_programs_names_are_understood(asked, wanted):
    assert registry.resolved(asked) == wanted
    assert wanted[1] is not None or registry.lookup(asked) is registry.SOLVERS[wanted[0]]


def test_every_class_that_schedulers_are_read_from_is_a_samplers_name():
    words = [registry.resolved(name) for name in CLASSES]
    assert all(spacing is None for _, spacing in words)
    # What a published model's settings make of our name is the class that the name stands for.
    for name, (scheduler, changes) in SCHEDULERS.items():
        assert changes or registry.resolved(scheduler) == (name, None)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [("dpm++", "dpmpp_2m"), ("DPM++ SDE", "dpmpp_2m_sde"), ("Euler b", "euler"), ("unip", "unipc")],
)
def test_unknown_names_get_the_nearest(asked, wanted):
    assert wanted in registry.suggestions(asked)
    with pytest.raises(ValueError, match=f"no sampler .* did you mean .*{wanted}"):
        registry.lookup(asked)


def test_a_spacing_in_the_name_is_pointed_out_where_it_has_no_place():
    with pytest.raises(ValueError, match="dpmpp_2m with spacing karras"):
        registry.build("DPM++ 2M Karras")


def test_the_docs_list_the_names_of_other_programs():
    page = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text()
    assert f"<!-- names: begin -->\n{registry.table_of_names()}\n<!-- names: end -->" in page


@pytest.mark.parametrize("name", registry.SOLVERS)
def test_a_solver_without_its_schedule_is_plain_data(name):
    """A recipe holds it and writes it to JSON; the run's schedule completes it."""
    entry = registry.lookup(name)
    solver = entry.make(**entry.fixed)
    plain = {option: getattr(solver, option) for option in entry.options if option != "predictor"}
    assert entry.make(**entry.fixed, **json.loads(json.dumps(plain))) == solver
    complete = registry.with_schedule(solver, LINEAR)
    assert not entry.takes_schedule or (solver.schedule is None and complete.schedule is LINEAR)
    assert jax.tree.structure(complete) == jax.tree.structure(registry.build(name, LINEAR))


def test_wrapped_solvers_are_completed_and_schedules_kept():
    wrapped = solvers.PredictorCorrector(predictor=solvers.KDPM2())
    assert registry.with_schedule(wrapped, LINEAR).predictor.schedule is LINEAR
    own = solvers.KDPM2(PURE)
    assert registry.with_schedule(own, LINEAR).schedule is PURE


@pytest.mark.parametrize("make", [solvers.KDPM2, solvers.TCD, solvers.PNDM, solvers.RK45])
def test_a_missing_schedule_is_noticed_before_the_first_step(make):
    grid = diffax.time_grid(LINEAR, 4)
    with pytest.raises(ValueError, match="with_schedule"):
        diffax.sample(None, make(), grid, jnp.zeros((1, 2)), diffax.sample_keys(0, 1))


def test_churn_without_a_schedule_is_never_forgotten():
    grid, keys = diffax.time_grid(LINEAR, 2), diffax.sample_keys(0, 1)
    data = diffax.mixture.GaussianMixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
    solver = solvers.Euler(churn=1.0)
    with pytest.raises(ValueError, match="with_schedule"):
        diffax.sample(data, solver, grid, jnp.zeros((1, 2)), keys)
    compiled = jax.jit(diffax.sample)(data, solver, grid, jnp.zeros((1, 2)), keys)
    assert np.all(np.isnan(compiled))


def test_the_table_of_the_docs_is_what_the_solvers_say():
    page = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text()
    assert f"<!-- solvers: begin -->\n{registry.table()}\n<!-- solvers: end -->" in page


def test_a_solver_given_as_a_noun_is_checked_too():
    with pytest.raises(ValueError, match="LMS steps in sigma / alpha"):
        check_combination(solvers.LMS(), PURE, parameterization.V(), 10)
    check_combination(solvers.Heun(space="straight"), PURE, parameterization.V(), 10)


def test_options_reach_the_solver():
    assert registry.build("ddim", eta=0.25).eta == 0.25
    assert registry.build("unipc", order=3, kind="bh1").order == 3
    assert registry.build("dpmpp_3m").order == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dpmp_2m", {}, "did you mean dpmpp_2m"),
        ("zzz", {}, "there are: ancestral, confident"),
        ("zzz", {}, "no sampler 'zzz'; there"),
        ("dpmpp_2m", {"eta": 0.5}, "takes no option 'eta'; its options: order"),
        ("dpmpp_3m", {"order": 2}, "takes no option 'order'"),
        ("kdpm2", {}, "give schedule"),
        ("unipc", {"order": 4}, "1 .. 3"),
        ("unipc", {"kind": "bh3"}, "bh1 or bh2"),
        ("dpmpp_2m", {"kind": "euler"}, "midpoint or heun"),
        ("euler", {"churn": 1.0}, "schedule"),
        ("ddpm", {"variance": "large"}, "fixed_large"),
        ("ddim", {"eta": -1}, r"eta should be in \[0, inf\), got -1"),
        ("ddim", {"eta": float("nan")}, r"in \[0, inf\), got nan"),
        ("ddim", {"eta": float("inf")}, r"in \[0, inf\), got inf"),
        ("ddim", {"eta": np.float32(-1)}, r"in \[0, inf\)"),
        ("ddim", {"eta": np.array([0.5, -1.0])}, r"in \[0, inf\)"),
        ("ddim", {"eta": "0.5"}, "got '0.5'"),
        ("ddim", {"eta": None}, "got None"),
        ("tcd", {"eta": 1.5}, r"in \[0, 1\]"),
        ("dpmpp_2m", {"order": 7}, "order should be 1 .. 3, got 7"),
        ("dpmpp_2m", {"order": 2.0}, "1 .. 3, got 2.0"),
        ("sde_dpm_2m", {"order": 3}, "1 .. 2, got 3"),
        ("lms", {"order": True}, "1 .. 4, got True"),
        ("heun", {"churn": -0.1}, r"churn should be in \[0, inf\), got -0.1"),
        ("rk45", {"rtol": 0}, r"rtol should be in \(0, inf\)"),
        ("langevin", {"corrections": -1}, "at least 0, got -1"),
        ("unipc", {"predict_x0": 1}, "true or false, got 1"),
        ("dpmpp_2m", {"compat": "k"}, "diffusers or none, got 'k'"),
    ],
)
def test_wrong_requests_are_answered(name, options, message):
    with pytest.raises(ValueError, match=message):
        registry.build(name, **options)


@pytest.mark.parametrize(
    ("name", "schedule", "reading", "steps", "options", "message"),
    [
        ("ddim", PURE, parameterization.Eps(), 10, {}, "v- or x0-predicting"),
        ("lms", PURE, parameterization.V(), 10, {}, "infinite"),
        ("heun", schedules.RectifiedFlow(), parameterization.Velocity(), 10, {}, "flow_heun"),
        ("pndm", LINEAR, parameterization.Eps(), 3, {}, "at least 4"),
        ("ddim", LINEAR, parameterization.Eps(), 10, {"eta": -1.0}, r"in \[0, inf\), got -1"),
        ("tcd", schedules.VP(), parameterization.Eps(), 4, {}, "table"),
    ],
)
def test_impossible_combinations_are_refused(name, schedule, reading, steps, options, message):
    with pytest.raises(ValueError, match=message):
        check_combination(name, schedule, reading, steps, options)


@pytest.mark.parametrize("name", registry.GAUSSIAN)
def test_possible_combinations_are_not(name):
    check_combination(name, LINEAR, parameterization.Eps(), 10)


def test_spacings_in_noise_level_start_with_some_signal():
    for name in ("heun", "lms"):
        check_combination(name, PURE, parameterization.Eps(), 10, spacing="karras")


def test_flow_solvers_may_start_from_pure_noise():
    for name in ("flow_heun", "flow_euler", "dpmpp_2m", "unipc"):
        check_combination(name, schedules.RectifiedFlow(), parameterization.Velocity(), 10)
