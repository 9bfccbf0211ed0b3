"""Nouns under `jit`: one program for a number, whatever kind of number it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import guidance, parameterization, schedules
from diffax.models import BoundModule, VectorMLP
from diffax.noun import check_range, noun, number

KINDS = [
    2,
    2.0,
    np.int64(2),
    np.float32(2),
    np.float64(2),
    np.asarray(2),
    np.asarray(2.0),
    jnp.asarray(2),
    jnp.int32(2),
    jnp.float32(2),
    jnp.asarray(2.0),
]
X = jnp.ones((3, 2))
AT = schedules.linear(10).at(5)
NETWORK = diffax.Network(lambda p, x, t, c: p * x, jnp.ones(()), {}, parameterization.Eps())


@pytest.mark.parametrize(
    "make, use",
    [
        (lambda n: guidance.ClassifierFree(NETWORK, {}, n), lambda noun: noun(X, AT).x0),
        (lambda n: guidance.ClassifierFree(NETWORK, {}, 3.0, interval=(0, n)),
         lambda noun: noun(X, AT).x0),
        (lambda n: guidance.Clip(NETWORK, n), lambda noun: noun(X, AT).x0),
        (lambda n: schedules.VP(n, 20), lambda noun: noun.at(0.5).sigma),
        (lambda n: schedules.EDM(0.1, n), lambda noun: noun.start.sigma),
        (lambda n: parameterization.EDM(n), lambda noun: noun.sensitivity(AT)),
    ],
)  # fmt: skip
def test_every_kind_of_number_runs_the_same_program(make, use):
    traces = []

    @jax.jit
    def run(noun):
        traces.append(None)
        return use(noun)

    results = [np.asarray(run(make(kind))) for kind in KINDS]
    assert len(traces) == 1
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_checks_are_inherited():
    @noun
    class Base:
        size: float = number(default=1.0)

        def __post_init__(self):
            check_range("size", self.size, above=0)

    @noun
    class Derived(Base):
        """The same numbers, another meaning."""

    assert Derived(3).size == 3.0
    with pytest.raises(ValueError, match="size should be a finite number > 0, got -1.0"):
        Derived(-1)


@pytest.mark.parametrize("value", [-1, 2.0, float("nan"), float("inf"), True, "1", None])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="rate should be a finite number >= 0 and < 2, got"):
        check_range("rate", value, least=0, below=2)


def test_numbers_in_range_and_arrays_pass():
    for value in (0, 1.5, np.float32(0.5), jnp.asarray(-1.0)):
        check_range("rate", value, least=0, below=2)


def test_nouns_are_printed_in_one_line():
    """However much is in them: arrays by their number, Flax modules by their name."""
    params = {str(i): jnp.ones((10, 10)) for i in range(5)}
    network = BoundModule(VectorMLP(), params)
    assert repr(network) == "BoundModule(module=VectorMLP(...), params=<5 arrays, 500 numbers>)"
