"""Recipes: plain numbers that are JSON, checked at once, and the tables they build."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import schedules
from diffax.schedules import BY_NAME, Discrete

GIVEN = {"betas": {"betas": [0.1, 0.2, 0.3]}, "alpha_bars": {"alpha_bars": [0.9, 0.5, 0.1]}}
TABLES = [n for n, kind in BY_NAME.items() if "zero_terminal_snr" in kind.__dataclass_fields__]


def recipe(name, **numbers):
    return BY_NAME[name](**GIVEN.get(name, {}), **numbers)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_recipe_survives_json(name):
    told = json.loads(json.dumps(dataclasses.asdict(recipe(name))))
    assert BY_NAME[name](**told) == recipe(name)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_recipe_builds_a_schedule(name):
    schedule = recipe(name).build()
    assert isinstance(schedule, Discrete) == (name in TABLES)
    assert schedule.end.sigma == 0 and schedule.start.sigma_ratio > schedule.at(0).sigma_ratio


def test_continuous_schedules_are_their_own_recipes():
    with_parameters = {"learned_linear", "learned_monotone"}  # which build() begins
    for name in set(BY_NAME) - set(TABLES) - with_parameters:
        schedule = recipe(name)
        assert schedule.build() is schedule


@pytest.mark.parametrize(
    "name, args",
    [
        ("linear", (50, 1e-3, 0.1)),
        ("scaled_linear", (50, 1e-3, 0.1)),
        ("cosine", (50, 0.01, 0.99)),
        ("sigmoid", (50, -2.0, 4.0, 0.7, 0.99)),
        ("sigmoid_beta", (50, 1e-4, 0.1, -5.0, 7.0)),
    ],
)
def test_functions_and_recipes_are_the_same_tables(name, args):
    function = getattr(schedules, name)
    for given in (args, ()):
        pairs = zip(
            jax.tree.leaves(function(*given)),
            jax.tree.leaves(BY_NAME[name](*given).build()),
            strict=True,
        )
        for ours, theirs in pairs:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_end_in_pure_noise(name):
    plain, shifted = recipe(name).build(), recipe(name, zero_terminal_snr=True).build()
    assert shifted.alpha[-1] == 0 and shifted.sigma[-1] == 1
    np.testing.assert_allclose(shifted.alpha[0], plain.alpha[0], rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.Linear(num_steps=0), "num_steps should be a whole number, at least one"),
        (lambda: schedules.Linear(num_steps="10"), "got '10'"),
        (lambda: schedules.Linear(num_steps=10.5), "got 10.5"),
        (lambda: schedules.ScaledLinear(beta_start=0.0), "beta_start should .* > 0 and <= 1"),
        (lambda: schedules.Linear(beta_end=float("nan")), "beta_end should .* got nan"),
        (lambda: schedules.Linear(beta_end="0.1"), "beta_end should .* got '0.1'"),
        (lambda: schedules.Cosine(offset=-0.1), "offset should .* >= 0"),
        (lambda: schedules.Cosine(max_beta=1.5), "max_beta should .* <= 1"),
        (lambda: schedules.Sigmoid(start=3.0, end=3.0), "end should .* > 3"),
        (lambda: schedules.Sigmoid(tau=0.0), "tau should .* > 0"),
        (lambda: schedules.SigmoidBeta(low=float("inf")), "low should be a finite number"),
        (lambda: schedules.Betas((0.1, 1.2)), r"in \(0, 1\]"),
        (lambda: schedules.AlphaBars((0.5, 0.6)), "decrease"),
        (lambda: schedules.Linear(1, zero_terminal_snr=True).build(), "at least 2 steps"),
        (lambda: schedules.VP(beta_min=0), "beta_min should .* > 0"),
        (lambda: schedules.SubVP(beta_min=3.0, beta_max=2.0), "beta_max should .* >= 3"),
        (lambda: schedules.VE(sigma_min=2.0, sigma_max=1), "sigma_max should .* > 2"),
        (lambda: schedules.EDM(sigma_max=float("inf")), "sigma_max should be a finite"),
        (lambda: schedules.ContinuousCosine(offset=-1), "offset should .* >= 0"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_traced_numbers_are_not_looked_at():
    noise = jax.jit(lambda low: schedules.VP(low, 20.0).at(0.5).sigma)
    assert noise(jnp.asarray(0.1)) < noise(jnp.asarray(5.0))
