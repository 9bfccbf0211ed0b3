"""Solvers of tokens against the exact distribution of a known source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from discrete_source import LENGTH, PROBS, SIZE, TEXTS, Exact
from scipy import stats

import diffax
from diffax import sampling, schedules, solvers
from diffax.categorical import Absorbing, UniformTokens

ABSORBING, UNIFORM = Absorbing(SIZE), UniformTokens(SIZE)
SCHEDULE = schedules.LinearFraction()


def drawn(process, solver, steps, num, known=None, mask=None, seed=0):
    """Samples `[num, L]` of the exact denoiser."""
    exact = Exact(process)
    grid = sampling.time_grid(SCHEDULE, steps)
    keys = diffax.sample_keys(seed, num)
    noise = diffax.initial_noise(keys, (LENGTH,))
    x = process.begin(noise, 1.0)
    if known is not None:
        known = jnp.tile(jnp.asarray(known), (num, 1))
        x = process.with_known(x, known, mask)
        exact = sampling.KeptInside(exact, known, mask, noise, grid.t[0], process)
        solver = sampling.Inpainting(solver, known, mask, noise=noise, process=process)
    return np.asarray(jax.jit(lambda x: diffax.sample(exact, solver, grid, x, keys))(x))


def p_value(x, probs=PROBS):
    """Of the chi-square test that texts have these probabilities."""
    counts = np.bincount(x @ SIZE ** np.arange(LENGTH)[::-1], minlength=len(TEXTS))
    assert counts[probs == 0].sum() == 0
    return stats.chisquare(counts[probs > 0], probs[probs > 0] * len(x)).pvalue


# One token at a time in an order of its own is exact for masks; many short steps are nearly so.
CASES = [
    (ABSORBING, solvers.Ancestral(), 512),
    (ABSORBING, solvers.Confident(randomness=1e6), LENGTH),  # in random order, one at a time
    (UNIFORM, solvers.Ancestral(), 512),
]


@pytest.mark.slow
@pytest.mark.parametrize("process, solver, steps", CASES)
def test_a_hundred_thousand_samples_have_the_exact_distribution(process, solver, steps):
    assert p_value(drawn(process, solver, steps, 100_000)) > 1e-3


def test_samples_have_the_exact_distribution():
    x = drawn(ABSORBING, solvers.Confident(randomness=1e6), LENGTH, 10_000)
    assert p_value(x) > 1e-4


def test_a_few_steps_do_not():
    """Tokens of one step are independent: the test sees it."""
    assert p_value(drawn(ABSORBING, solvers.Ancestral(), 2, 10_000)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("process", [ABSORBING, UNIFORM])
def test_tau_leaping_approaches_the_distribution(process):
    def distance(steps):
        x = drawn(process, solvers.TauLeaping(), steps, 40_000)
        counts = np.bincount(x @ SIZE ** np.arange(LENGTH)[::-1], minlength=len(TEXTS))
        return np.abs(counts / len(x) - PROBS).sum() / 2

    few, many = distance(8), distance(128)
    assert many < few / 2 and many < 0.03  # 0.015 is the noise of so many samples


@pytest.mark.parametrize("process", [ABSORBING, UNIFORM])
def test_tau_leaping_ends_without_noise(process):
    x = drawn(process, solvers.TauLeaping(), 3, 64)
    assert x.min() >= 0 and x.max() < SIZE


@pytest.mark.parametrize(
    "solver, steps",
    [
        pytest.param(solvers.Ancestral(), 128, marks=pytest.mark.slow),
        (solvers.Confident(randomness=1e6), LENGTH),
    ],
)
def test_what_is_known_stays_and_the_rest_is_conditional(solver, steps):
    """The first and the last token are given; the two between have the source's conditional."""
    known, mask = np.array([2, 0, 0, 1], np.int32), jnp.array([[0.0, 1.0, 1.0, 0.0]])
    x = drawn(ABSORBING, solver, steps, 10_000, known, mask)
    assert (x[:, 0] == 2).all() and (x[:, 3] == 1).all()
    fits = (TEXTS[:, 0] == 2) & (TEXTS[:, 3] == 1)
    conditional = np.where(fits, PROBS, 0) / PROBS[fits].sum()
    assert p_value(x, conditional) > 1e-4


def test_what_is_known_stays_among_uniform_tokens():
    known, mask = np.array([2, 0, 0, 1], np.int32), jnp.array([[0.0, 1.0, 1.0, 0.0]])
    x = drawn(UNIFORM, solvers.Ancestral(), 16, 64, known, mask)
    assert (x[:, 0] == 2).all() and (x[:, 3] == 1).all()


def test_temperature_zero_takes_the_likeliest():
    x = drawn(ABSORBING, solvers.Confident(temperature=0.0, randomness=0.0), LENGTH, 16)
    assert (x == x[0]).all()


def test_masks_go_as_fast_as_the_grid_says():
    exact, grid = Exact(ABSORBING), sampling.time_grid(SCHEDULE, 2)
    keys = diffax.sample_keys(0, 8)
    x = jnp.full((8, LENGTH), SIZE)
    _, path = diffax.sample(exact, solvers.Confident(), grid, x, keys, True)
    assert ((np.asarray(path) == SIZE).sum(-1) == np.array([4, 2, 0])[:, None]).all()


def test_solvers_and_models_must_be_of_one_kind():
    from diffax import parameterization
    from diffax.categorical import Logits

    with pytest.raises(ValueError, match="ddim is for Gaussian noise.*use ancestral, confident"):
        sampling.check_combination("ddim", SCHEDULE, Logits(ABSORBING))
    with pytest.raises(ValueError, match="ancestral is for tokens"):
        sampling.check_combination("ancestral", schedules.VP(), parameterization.Eps())
    with pytest.raises(ValueError, match="fills masks"):
        drawn(UNIFORM, solvers.Confident(), 2, 4)
