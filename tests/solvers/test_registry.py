"""Solvers by name."""

import dataclasses

import pytest

import diffax
from diffax import parameterization, schedules
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


def test_options_reach_the_solver():
    assert registry.build("ddim", eta=0.25).eta == 0.25
    assert registry.build("unipc", order=3, kind="bh1").order == 3
    assert registry.build("dpmpp_3m").order == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dpmp_2m", {}, "did you mean dpmpp_2m"),
        ("zzz", {}, "there are: ddim"),
        ("zzz", {}, "no sampler 'zzz'; there"),
        ("dpmpp_2m", {"eta": 0.5}, "takes no option 'eta'; its options: order"),
        ("dpmpp_3m", {"order": 2}, "takes no option 'order'"),
        ("kdpm2", {}, "give schedule"),
        ("unipc", {"order": 4}, "1 .. 3"),
        ("unipc", {"kind": "bh3"}, "bh1 or bh2"),
        ("dpmpp_2m", {"kind": "euler"}, "midpoint or heun"),
        ("euler", {"churn": 1.0}, "schedule"),
        ("ddpm", {"variance": "large"}, "fixed_large"),
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


@pytest.mark.parametrize("name", registry.SOLVERS)
def test_possible_combinations_are_not(name):
    check_combination(name, LINEAR, parameterization.Eps(), 10)


def test_spacings_in_noise_level_start_with_some_signal():
    for name in ("heun", "lms"):
        check_combination(name, PURE, parameterization.Eps(), 10, spacing="karras")


def test_flow_solvers_may_start_from_pure_noise():
    for name in ("flow_heun", "flow_euler", "dpmpp_2m", "unipc"):
        check_combination(name, schedules.RectifiedFlow(), parameterization.Velocity(), 10)
