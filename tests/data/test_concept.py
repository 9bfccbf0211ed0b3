"""A few images with texts, and the class beside them."""

import numpy as np
import pytest
from PIL import Image

from diffax.data import Column, Concept


def paint(folder, count, level):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (level + i, 0, 0)).save(folder / f"{i}.png")


@pytest.fixture
def folders(tmp_path):
    paint(tmp_path / "dog", 3, 0)
    paint(tmp_path / "dogs", 7, 100)
    return tmp_path


def test_every_image_goes_with_every_text(folders):
    prompts = ("a photo of {}", "{} in the snow")
    dataset = Concept(dir=str(folders / "dog"), name="sks dog", prompts=prompts).load()
    arrays = dataset.arrays()
    pairs = zip(arrays["x"][:, 0, 0, 0].tolist(), arrays["caption"].tolist(), strict=True)
    assert sorted(pairs) == [
        (i, text) for i in range(3) for text in ("a photo of sks dog", "sks dog in the snow")
    ]
    assert "weight" not in dataset.spec.columns and "2 texts" in dataset.summary()


def test_every_second_example_is_of_the_class(folders):
    concept = Concept(
        dir=str(folders / "dog"),
        name="sks dog",
        class_dir=str(folders / "dogs"),
        class_prompt="a photo of a dog",
        prior_weight=0.5,
    )
    dataset = concept.load()
    assert dataset.spec.columns["weight"] == Column((), "float32")
    assert dataset.spec.size == 2 * 9  # of 3 images as many as it takes to show all 7 of the class
    seen = []
    for step in range(3):  # an epoch, half of every batch
        batch = dataset.batch(step, seed=3, batch_size=6)
        prior = batch["caption"] == "a photo of a dog"
        assert prior.sum() == 3
        np.testing.assert_array_equal(batch["x"][:, 0, 0, 0] >= 100, prior)
        np.testing.assert_array_equal(batch["weight"], np.where(prior, 1.0, 2.0))
        seen += batch["x"][:, 0, 0, 0].tolist()
    values, counts = np.unique(seen, return_counts=True)
    assert values.tolist() == [0, 1, 2, *range(100, 107)] and counts[:3].tolist() == [3, 3, 3]


def test_bad_values_are_refused_in_one_line(folders):
    own = str(folders / "dog")
    for fields, said in (
        (dict(prompts=("a photo",)), "with {} where data.name goes"),
        (dict(class_prompt="a dog"), "belong together"),
        (dict(prior_weight=-1.0), "prior_weight"),
        (dict(class_images=0), "class_images"),
    ):
        with pytest.raises(ValueError, match=said):
            Concept(dir=own, **fields)
    with pytest.raises(FileNotFoundError, match="fills data.class_dir"):
        Concept(dir=own, class_dir=str(folders / "none"), class_prompt="a dog").load()
    paint(folders / "large", 1, 0)
    Image.new("RGB", (16, 16)).save(folders / "large" / "0.png")
    with pytest.raises(ValueError, match=r"set data\.image_size"):
        Concept(dir=own, class_dir=str(folders / "large"), class_prompt="a dog").load()
