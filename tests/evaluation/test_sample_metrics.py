"""Metrics of samples as nouns: they look at samples and data once, and say with what."""

import dataclasses
from types import SimpleNamespace

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.data import Column, Dataset, Digits, Source, Toy
from diffax.evaluation import (
    ClassAccuracy,
    Classifier,
    Copies,
    DensityCoverageOfSamples,
    Frechet,
    Inception,
    InceptionScore,
    KernelDistance,
    MeanDiscrepancy,
    PrecisionRecallOfSamples,
    SlicedWasserstein,
    Statistics,
    Watched,
    feature_network,
    measure,
    sliced_wasserstein,
    write_statistics,
)
from diffax.evaluation.seen import chosen
from diffax.generation import Samples
from diffax.models import Features

loads: list = []
TEST = Digits(split="test").load().arrays()


class Blocks(nn.Module):
    """Sixteen means of grey levels, and how much ink there is as the logits of two classes."""

    @nn.compact
    def __call__(self, images):
        grey = images[..., :1].astype(jnp.float32) / 255
        pooled = nn.avg_pool(grey, (2, 2), (2, 2)).reshape(len(images), 16)
        ink = pooled.mean(axis=1, keepdims=True) - 0.3
        return Features(pooled, jnp.concatenate([-20 * ink, 20 * ink], axis=1))


@dataclasses.dataclass(frozen=True)
class Eye:
    """A feature network that needs no file."""

    def load(self, dataset=None):
        loads.append(dataset)
        return feature_network("eye", Blocks(), {"params": {}})


def watched(images, labels=None):
    told = {} if labels is None else {"label": labels}
    return Watched(None, Digits(), None, None, given=Samples(images, images, told))


def test_samples_that_are_the_data_are_at_no_distance():
    loads.clear()
    seen = watched(TEST["x"])
    options = {"features": Eye(), "samples": 355, "split": "test"}
    assert Frechet(**options)(seen)["frechet"] == pytest.approx(0, abs=1e-9)
    assert abs(KernelDistance(**options, subsets=5)(seen)["kid"]) < 0.02
    assert PrecisionRecallOfSamples(**options)(seen) == {"precision": 1.0, "recall": 1.0}
    assert DensityCoverageOfSamples(**options)(seen)["coverage"] == 1.0
    assert len(loads) == 1 and list(seen.kept) == [(Eye(), 355)]


def test_the_frechet_distance_says_how_it_was_obtained():
    darker = (TEST["x"] * 0.7).astype(np.uint8)
    metric = Frechet(features=Eye(), samples=300)
    one, two = (measure(metric, watched(images)) for images in (TEST["x"], darker))
    assert 0 < one.figures["frechet"] < two.figures["frechet"] / 5
    how, warning = one.notes
    assert "300 samples against 1,442 of Digits(" in how and "network eye " in how
    assert warning.startswith("Frechet distance of 300 samples: biased upwards")


def test_without_a_word_the_network_learns_the_data(monkeypatch):
    monkeypatch.delenv("DIFFAX_INCEPTION", raising=False)
    assert chosen(None) == Classifier() and chosen(Eye()) == Eye()
    monkeypatch.setenv("DIFFAX_INCEPTION", "weights.pth")
    assert chosen(None) == Inception()
    # As many samples as there are examples, where nobody says how many.
    seen = watched(np.concatenate([TEST["x"]] * 2))
    how = measure(Frechet(features=Eye(), split="test"), seen).notes[0]
    assert "355 samples against 355 of" in how


def test_statistics_take_the_place_of_data(tmp_path):
    seen = watched(TEST["x"])
    features = Eye().load()(TEST["x"]).pooled.astype(np.float64)
    mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
    write_statistics(tmp_path / "own.npz", Statistics(mean, covariance))
    write_statistics(tmp_path / "other.npz", Statistics(mean, covariance, 9, "other", "abc"))
    write_statistics(tmp_path / "small.npz", Statistics(mean[:4], covariance[:4, :4]))
    alone = dataclasses.replace(seen, data=None)
    metric = Frechet(features=Eye(), samples=355, statistics=str(tmp_path / "own.npz"))
    assert metric(alone)["frechet"] == pytest.approx(0, abs=1e-9)
    for name, words in (("other", r"same network, got eye .* and other \(abc\)"), ("small", "4")):
        with pytest.raises(ValueError, match=words):
            dataclasses.replace(metric, statistics=str(tmp_path / f"{name}.npz"))(alone)
    with pytest.raises(ValueError, match="name them with --reference"):
        Frechet(features=Eye())(alone)


def test_figures_of_the_classes_that_a_network_sees():
    logits = np.asarray(Eye().load()(TEST["x"]).logits)
    labels = logits.argmax(axis=1)
    seen = watched(TEST["x"], labels)
    assert ClassAccuracy(features=Eye(), samples=355)(seen) == {"class_accuracy": 1.0}
    score = InceptionScore(features=Eye(), samples=355)(seen)["inception_score"]
    assert 1 < score <= 2
    with pytest.raises(ValueError, match="a class for every sample: samples have no classes"):
        ClassAccuracy(features=Eye())(watched(TEST["x"]))


def test_training_images_are_found_to_be_copies():
    train = Digits(split="train").load().arrays()["x"][:40]
    found = measure(Copies(), watched(train))
    assert found.figures["copied"] == 1 and found.figures["nearest_smallest"] == 0
    assert list(found.images) == ["nearest pairs: samples above, training images below"]
    other = measure(Copies(), watched(TEST["x"])).figures
    assert other["copied"] < 0.02 and other["nearest_novelty"] == pytest.approx(1)


def test_vectors_are_compared_with_their_data():
    x = Toy("moons", num=500).load().arrays()["x"]
    seen = Watched(None, Toy("moons", num=500), None, None, given=Samples(x, x))
    for metric, name in ((SlicedWasserstein(), "sliced_wasserstein"), (MeanDiscrepancy(), "mmd")):
        near, far = (
            metric(dataclasses.replace(seen, given=Samples(x + shift, x)))[name]
            for shift in (0, 0.5)
        )
        assert near < far / 4


def test_a_distance_of_vectors_stands_beside_that_of_other_real_data():
    noun = Toy("moons", num=500)
    splits = (dataclasses.replace(noun, split=split) for split in ("train", "test"))
    train, test = (split.load().arrays()["x"] for split in splits)
    seen = Watched(None, noun, None, None, given=Samples(train, train))
    figures = measure(SlicedWasserstein(), seen).figures
    assert figures["sliced_wasserstein"] == figures["sliced_wasserstein_of_real_data"]
    assert figures["sliced_wasserstein"] == sliced_wasserstein(train, test)


def test_samples_that_cannot_be_judged_are_refused():
    broken = np.zeros((5, 2), np.float32)
    broken[3] = np.nan
    seen = Watched(None, Toy(), None, None, given=Samples(broken, broken))
    with pytest.raises(ValueError, match="1 of 5 samples are not finite, the first is number 3"):
        SlicedWasserstein()(seen)
    assert len(seen.samples(3)) == 3  # of which none is
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        Frechet(features=Eye(), samples=2)(watched(TEST["x"][:1]))
    with pytest.raises(ValueError, match="samples and num must be >= 2, got 1 and None"):
        Frechet(samples=1)
    with pytest.raises(ValueError, match="this objective makes none"):
        SlicedWasserstein()(Watched(None, Toy(), None, None))


def captioned(texts):
    x, texts = np.zeros((len(texts), 2), np.float32), np.asarray(texts)
    columns = {"x": Column((2,), "float32"), "caption": Column((), "str")}
    return Dataset("told", Source(columns, len(x), lambda r: {"x": x[r], "caption": texts[r]}))


def test_a_model_that_reads_texts_is_asked_for_the_datas_own():
    model = SimpleNamespace(conditioner=SimpleNamespace(asks=("prompt",)))
    seen = Watched(model, None, captioned(["a cat", "", "a dog"]), None)
    assert seen.texts(5) == ["a cat", "a dog", "a cat", "a dog", "a cat"]
    assert seen.saying(["red"]).texts(2) == ["red", "red"]
    assert dataclasses.replace(seen, dataset=captioned(["", " "])).texts(2) is None
    deaf = SimpleNamespace(conditioner=SimpleNamespace(asks=()))
    assert dataclasses.replace(seen, model=deaf).texts(2) is None
    assert dataclasses.replace(seen, options={"prompt": "a house"}).texts(2) == ["a house"] * 2
