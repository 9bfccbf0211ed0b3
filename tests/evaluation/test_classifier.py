"""The built-in classifier learns digits and moons, and its features tell good samples from bad."""

import numpy as np
import pytest

from diffax.data import Digits, Toy
from diffax.evaluation import Classifier, frechet_distance, label_accuracy, moments_of


def test_digits():
    """In 150 steps it knows unseen digits, and distances grow with what is done to them."""
    data = Digits().load()
    network = Classifier(steps=150).load(data)
    unseen = Digits(split="test").load().arrays()
    assert label_accuracy(network(unseen["x"]).logits, unseen["label"]) > 0.93

    def distance(images):
        return frechet_distance(moments_of(network, [images]).statistics(network), real)

    real = moments_of(network, [data.arrays()["x"]]).statistics(network)
    noise = np.random.default_rng(0).normal(size=unseen["x"].shape)
    worse = [np.clip(unseen["x"] + std * noise, 0, 255).astype(np.uint8) for std in (0, 20, 60)]
    distances = [distance(x) for x in worse]
    assert distances == sorted(distances) and distances[2] > 4 * distances[0]
    only_ones = unseen["x"][unseen["label"] == 1]
    assert distance(only_ones) > 4 * distances[0]


@pytest.mark.slow
def test_images_without_classes_are_told_by_how_they_were_turned():
    data = Digits(labels=False).load()
    network = Classifier(steps=100).load(data)
    unseen = Digits(split="test").load().arrays()["x"]
    turned = [np.rot90(unseen, turn, axes=(1, 2)) for turn in range(4)]
    right = [label_accuracy(network(x).logits, np.full(len(x), i)) for i, x in enumerate(turned)]
    assert min(right) > 0.7, right
    assert network.name == "classifier of turns"
    real = moments_of(network, [data.arrays()["x"]]).statistics(network)
    noisy = np.clip(unseen + np.random.default_rng(0).normal(0, 40, unseen.shape), 0, 255)
    near, far = (
        frechet_distance(moments_of(network, [x]).statistics(network), real)
        for x in (unseen, noisy.astype(np.uint8))
    )
    assert near < far / 4


@pytest.mark.slow
def test_oblong_images_have_two_turns():
    data = Digits(labels=False, image_size=(8, 12)).load()
    assert Classifier(steps=1).load(data)(data.arrays()["x"][:3]).logits.shape == (3, 2)


def test_vectors():
    data = Toy("moons", num=2000).load()
    network = Classifier(steps=400).load(data)
    unseen = Toy("moons", num=500, split="test").load().arrays()
    assert label_accuracy(network(unseen["x"]).logits, unseen["label"]) > 0.95
    with pytest.raises(ValueError, match=r"expected vectors \[B, 2\], got shape"):
        network(np.zeros((2, 8, 8, 1), np.uint8))


def test_what_is_refused():
    with pytest.raises(ValueError, match="images or labelled data to learn from, got none"):
        Classifier().load()
    with pytest.raises(ValueError, match="got .* without labels"):
        Classifier().load(Toy("moons", labels=False).load())
    with pytest.raises(ValueError, match="classifier steps should be .* >= 1, got 0"):
        Classifier(steps=0)
