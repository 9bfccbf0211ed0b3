"""Images of several shapes: every batch of one, and none cut more than needed."""

import numpy as np
import pytest
from PIL import Image

from diffax.data import ImageFolder, buckets


@pytest.fixture
def folder(tmp_path):
    """Six wide, three square and one tall image, each with its number in red."""
    sizes = [(40, 20)] * 6 + [(32, 32)] * 3 + [(20, 40)]
    for i, size in enumerate(sizes):
        Image.new("RGB", size, (10 * i, 0, 0)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"image {i}")
    return tmp_path


def load(folder, **fields):
    return ImageFolder(dir=str(folder), image_size=16, buckets=4, captions=True, **fields).load()


def test_shapes_have_about_the_area_and_no_extreme_sides():
    known = buckets.shapes((512, 512), 64)
    assert (512, 512) in known and (384, 640) in known
    for height, width in known:
        assert height % 64 == width % 64 == 0
        assert 0.75 < height * width / 512**2 <= 1
        assert 0.5 <= height / width <= 2
    assert buckets.nearest([(10, 20), (7, 7)], [(8, 16), (8, 8), (16, 8)]).tolist() == [0, 1]


def test_a_batch_holds_images_of_one_shape_and_is_a_function_of_the_step(folder):
    dataset = load(folder, flip=True)
    shapes, texts = set(), []
    for step in range(6):
        batch = dataset.batch(step, seed=1, batch_size=2)
        again = load(folder, flip=True).batch(step, seed=1, batch_size=2)
        for name in batch:
            np.testing.assert_array_equal(batch[name], again[name])
        shapes.add(batch["x"].shape)
        for image, text in zip(batch["x"], batch["caption"], strict=True):
            assert text == f"image {image[0, 0, 0] // 10}"
        texts += batch["caption"].tolist()
    assert len(shapes) == 3 and all(shape[0] == 2 for shape in shapes)
    assert set(texts) == {f"image {i}" for i in range(10)}  # an epoch: 3 + 2 + 1 batches
    # In several processes each has its rows of the same batch.
    whole = dataset.batch(0, seed=1, batch_size=2)["caption"].tolist()
    parts = [
        dataset.batch(0, seed=1, batch_size=2, process_index=i, process_count=2) for i in (0, 1)
    ]
    assert [p["caption"][0] for p in parts] == whole
    # Outside of training all have the commonest shape.
    assert dataset.arrays()["x"].shape == (10, *dataset.spec.shape)
    assert "buckets: " in dataset.summary()


def test_what_cannot_be_is_one_line(folder):
    with pytest.raises(ValueError, match="without random crops"):
        load(folder, random_crop=0.1)
    with pytest.raises(ValueError, match=r"needs data\.image_size"):
        ImageFolder(dir=str(folder), buckets=8).load()
