"""Latents instead of images, computed once and refused where they belong to something else."""

import dataclasses
import threading

import numpy as np
import pytest

from diffax.data import Column, Digits
from diffax.data.precomputed import precomputed

DIGITS = Digits(split="test").load()
COLUMN = Column((4, 4, 1), "float32")


class Halves:
    """An encoder that counts what it was asked for."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return images[:, ::2, ::2].astype(np.float32)


def test_they_are_computed_at_the_first_batch_and_never_again(tmp_path):
    file, encode = tmp_path / "made" / "latents.npz", Halves()
    latents = precomputed(DIGITS, file, encode, COLUMN, "a")
    assert encode.seen == 0 and not file.exists()  # a dry run writes nothing
    spec = latents.spec
    assert spec.columns["x"].shape == (4, 4, 1) and spec.columns["x"].dtype == "float32"
    assert spec.class_names == DIGITS.spec.class_names
    got, raw = (data.batch(3, seed=1, batch_size=8) for data in (latents, DIGITS))
    np.testing.assert_array_equal(got["x"], raw["x"][:, ::2, ::2])
    np.testing.assert_array_equal(got["label"], raw["label"])
    seen = encode.seen
    again = precomputed(DIGITS, file, encode, COLUMN, "a").batch(3, seed=1, batch_size=8)
    np.testing.assert_array_equal(again["x"], got["x"])
    assert encode.seen == seen >= DIGITS.spec.size


def test_whole_numbers_stay_whole(tmp_path):
    def codes(images):
        return images[:, ::2, ::2].astype(np.int32)

    column = Column((4, 4, 1), "int32")
    got = precomputed(DIGITS, tmp_path / "codes.npz", codes, column, "a").examples(np.arange(3))
    assert got["x"].dtype == np.int32
    np.testing.assert_array_equal(got["x"], DIGITS.examples(np.arange(3))["x"][:, ::2, ::2])


def test_threads_compute_them_once(tmp_path):
    encode = Halves()
    latents = precomputed(DIGITS, tmp_path / "latents.npz", encode, COLUMN, "a")
    threads = [threading.Thread(target=latents.examples, args=(np.arange(4),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encode.seen < 2 * DIGITS.spec.size


def test_latents_of_something_else_are_refused_at_once(tmp_path):
    file = tmp_path / "latents.npz"
    precomputed(DIGITS, file, Halves(), COLUMN, "a").examples(np.arange(2))
    with pytest.raises(ValueError, match="latents made of another autoencoder.*codec.cache"):
        precomputed(DIGITS, file, Halves(), COLUMN, "b")
    other = Digits(split="train").load()
    with pytest.raises(ValueError, match="latents made of other data"):
        precomputed(other, file, Halves(), COLUMN, "a")
    file.write_bytes(b"something")
    with pytest.raises(ValueError, match="is no file of latents"):
        precomputed(DIGITS, file, Halves(), COLUMN, "a")
    flipped = dataclasses.replace(DIGITS, options=Digits(flip=True))
    with pytest.raises(ValueError, match="leave data.flip"):
        precomputed(flipped, tmp_path / "new.npz", Halves(), COLUMN, "a")
