"""The judge of digits, judged: by real digits, averages of digits, noise, and copies."""

import numpy as np
import pytest

from diffax.data import Digits
from diffax.evaluation import digit_obedience, digit_quality


@pytest.fixture(scope="module")
def real():
    return {s: Digits(split=s).load().arrays()["x"] for s in ("train", "test")}


def test_real_digits_pass(real):
    quality = digit_quality(real["test"])
    assert quality.sure > 0.9
    assert 0.08 < quality.rarest <= quality.commonest < 0.12
    assert quality.novelty == pytest.approx(1.0)


def test_averages_of_digits_and_noise_do_not(real):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, len(real["train"]), (1000, 2))
    mixed = real["train"][pairs].mean(axis=1).astype(np.uint8)
    assert digit_quality(mixed).sure < 0.3
    noise = rng.integers(0, 256, (500, 8, 8, 1)).astype(np.uint8)
    assert digit_quality(noise).sure < 0.05


def test_copies_are_found(real):
    assert digit_quality(real["train"][:100]).novelty == 0


def test_one_class_is_found(real):
    zeros = real["train"][Digits().load().arrays()["label"] == 0]
    quality = digit_quality(zeros)
    assert quality.rarest == 0 and quality.commonest > 0.95


def test_digits_are_read_as_they_were_asked_for():
    test = Digits(split="test").load().arrays()
    told = digit_obedience(test["x"], test["label"])
    assert told.as_asked > 0.97 and told.diversity == pytest.approx(1.0, abs=0.1)
    wrong = digit_obedience(test["x"], (test["label"] + 1) % 10)
    assert wrong.as_asked < 0.03
    one = digit_obedience(np.repeat(test["x"][:1], 5, axis=0), np.repeat(test["label"][:1], 5))
    assert one.diversity == 0
    with pytest.raises(ValueError, match="a label for each of 2 images"):
        digit_obedience(test["x"][:2], [1])


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="8, 8, 1"):
        digit_quality(np.zeros((2, 8, 8), np.uint8))
