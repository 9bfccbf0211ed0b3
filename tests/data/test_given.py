"""A script's own data: every form gives the same examples, and what does not fit is one line."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffax.data import Digits, given
from diffax.data.moments import moments

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
LABELS = np.arange(12) % 3
TEXTS = [f"number {i}" for i in range(12)]


class Rows:
    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        return self.examples[i]


def examples():
    rows = zip(IMAGES, LABELS, TEXTS, strict=True)
    return [{"x": x, "label": label, "caption": text} for x, label, text in rows]


def forms():
    yield {"x": IMAGES, "label": LABELS, "caption": TEXTS}
    yield {"x": jnp.asarray(IMAGES), "label": LABELS.tolist(), "caption": np.array(TEXTS)}
    yield examples()
    yield Rows(examples())


def test_every_form_gives_the_same_batches_and_the_same_fingerprint():
    nouns = [given(form) for form in forms()]
    assert len(set(nouns)) == 1  # the data themselves are not compared
    for noun in nouns:
        dataset = noun.load()
        assert dataset.spec.is_image and dataset.spec.class_names == ("0", "1", "2")
        batch = dataset.batch(3, seed=1, batch_size=8)
        rows = [int(text.split()[1]) for text in batch["caption"]]
        np.testing.assert_array_equal(batch["x"][..., 0], IMAGES[rows])
        np.testing.assert_array_equal(batch["label"], LABELS[rows])
        assert batch["label"].dtype == np.int32 and batch["x"].shape == (8, 4, 4, 1)
    assert noun.columns == ("x uint8 [4, 4, 1]", "label int32 []", "caption str []")


@pytest.mark.parametrize("kind", ["source", "map"])
def test_grain(kind):
    grain = pytest.importorskip("grain", reason="grain is not installed")
    data = grain.MapDataset.source(examples())
    data = data.map(lambda e: e | {"x": 255 - e["x"]}) if kind == "map" else Rows(examples())
    same = given([e | {"x": 255 - e["x"]} for e in examples()] if kind == "map" else examples())
    assert given(data) == same
    for other, message in (
        (data, None),
        (grain.MapDataset.source(examples()).repeat(), "expected at least one example and an end"),
        (grain.MapDataset.source(examples()).to_iter_dataset(), "no IterDataset"),
        (grain.MapDataset.source(examples()).filter(lambda e: e["label"] > 0), "is None"),
    ):
        if message:
            with pytest.raises(ValueError, match=message):
                given(other)


def test_vectors_and_their_moments():
    x = np.random.default_rng(1).normal(3, 2, (50, 4))
    for data in (x, [row for row in x]):
        spec = given(data).load().spec
        assert spec.columns["x"].dtype == "float32" and spec.shape == (4,)
        np.testing.assert_allclose(spec.mean, x.mean(0), rtol=1e-6)
        np.testing.assert_allclose(spec.std, x.std(0), rtol=1e-5)
    blocks = np.split(x, [7, 30])
    np.testing.assert_allclose(moments(blocks, "x")[1], x.std(0), rtol=1e-12)


def test_pairs_of_an_image_and_a_label():
    images = [Image.fromarray(image) for image in IMAGES]  # as torchvision's sets have them
    pairs = given(Rows(list(zip(images, LABELS.tolist(), strict=True))))
    assert pairs == given({"x": IMAGES, "label": LABELS})


def test_what_is_data_already_stays():
    noun = Digits()
    assert given(noun) is noun
    assert given(noun.load()).load().batch(0, seed=0, batch_size=4)["x"].shape == (4, 8, 8, 1)


def test_the_fingerprint_sees_other_data_and_examples_that_change():
    assert given(IMAGES) != given(255 - IMAGES)
    assert given(IMAGES) != given(IMAGES[:-1])
    draw = np.random.default_rng()

    class Drawn(Rows):
        def __getitem__(self, i):
            return {"x": draw.integers(0, 256, (4, 4), np.uint8)}

    assert given(Drawn(examples())).fingerprint == "changes"


@pytest.mark.parametrize(
    "data, message",
    [
        ({"image": IMAGES}, "expected examples with x .*got image"),
        ({"x": IMAGES, "label": LABELS[:5]}, "arrays of one length, got {'x': 12, 'label': 5}"),
        ({}, "arrays of one length, got none"),
        ([], "at least one example"),
        (3, "expected an array, a dict of arrays"),
        ([{"x": np.array(["a"])}], "expected x as numbers"),
        ([{"x": IMAGES[0]}, {"x": IMAGES[0, :2]}], "are not alike|shape"),
        ([{"x": IMAGES[0], "label": -1}], "labels from 0"),
        (np.array([[1.0, np.nan]]), "row 0 has others"),
    ],
)
def test_what_does_not_fit_is_one_line(data, message):
    with pytest.raises(ValueError, match=message) as error:
        given(data).load().examples(np.arange(2))
    assert "\n" not in str(error.value)
