"""Bits a token of held-out texts."""

import math

import jax
import numpy as np
import pytest

from diffax.data import TextFile, Toy
from diffax.evaluation import TokenBits, Watched
from diffax.generation import Sampling
from diffax.models import TokenTransformer
from diffax.objectives import TokenDiffusion
from diffax.solvers import Ancestral


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A model that knows nothing: its network begins with zeros."""
    path = tmp_path_factory.mktemp("text") / "letters.txt"
    letters = np.random.default_rng(0).choice(list("abcdefgh"), size=4000)
    path.write_text("".join(letters))
    data = TextFile(file=str(path), length=16)
    spec = data.load().spec
    network = TokenTransformer(features=8, depth=1, num_heads=2)
    objective = TokenDiffusion(network).build(spec)
    trainable, frozen = objective.init(jax.random.key(0), {}, {})
    settings = Sampling(solver=Ancestral(), steps=4, clip=None)
    return Watched(objective.model(trainable, frozen, settings), data, data.load(), None)


@pytest.mark.parametrize("steps", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_a_model_that_knows_nothing_needs_all_bits(watched, steps):
    """Even guesses: log2 8 = 3 bits a character in expectation, whatever the steps."""
    found = TokenBits(num=25, draws=64, steps=steps).measure(watched)
    np.testing.assert_allclose(found.figures["token_bits"], math.log2(8), rtol=0.06)
    low, high = found.intervals["token_bits"]
    assert low < found.figures["token_bits"] < high
    assert "25 examples of test of 16 tokens" in found.notes[0]


def test_other_models_and_numbers_are_refused(watched):
    with pytest.raises(ValueError, match="token_bits needs a model of tokens"):
        TokenBits()(Watched(None, Toy(), None, None))
    with pytest.raises(ValueError, match="metrics draws must be >= 1"):
        TokenBits(draws=0)
