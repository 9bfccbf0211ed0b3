"""Prepared TensorFlow data sets, read without TensorFlow."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from diffax.data import TFDS, Loader, tfds


@pytest.fixture(scope="module")
def prepared():
    folder = Path(os.environ.get("DIFFAX_TEST_DATA", "/nonexistent")) / "tfds"
    if not folder.is_dir():
        pytest.skip("DIFFAX_TEST_DATA, the folder with the shared data, is not set")
    return str(folder)


def test_not_prepared_says_how_to_prepare(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        TFDS("cifar10", dir=str(tmp_path)).load()
    message = str(raised.value)
    assert f"'cifar10' is not prepared in {tmp_path}" in message
    assert "pip install tensorflow importlib_resources" in message
    assert f"tfds build cifar10 --data_dir {tmp_path} --file_format array_record" in message


def test_an_unknown_name_offers_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="no TensorFlow data set is called 'cifar11'; .*cifar10"):
        TFDS("cifar11", dir=str(tmp_path)).load()
    with pytest.raises(ValueError, match="name as name.* got 'a b'"):
        TFDS("a b")


def fake(folder, *versions):
    for version in versions:
        (folder / version).mkdir(parents=True)
        for name in ("dataset_info.json", "features.json"):
            (folder / version / name).write_text(json.dumps({}))


def test_the_newest_version_or_the_one_asked_for(tmp_path):
    fake(tmp_path / "birds", "1.2.0", "1.10.0")
    assert tfds._prepared("birds", tmp_path).name == "1.10.0"
    assert tfds._prepared("birds:1.2.0", tmp_path).name == "1.2.0"
    assert tfds._prepared("birds:2.0.0", tmp_path) is None


def test_several_configurations_must_be_told_apart(tmp_path):
    fake(tmp_path / "birds" / "small", "1.0.0")
    fake(tmp_path / "birds" / "large", "1.0.0")
    with pytest.raises(ValueError, match="say which: birds/large, birds/small"):
        TFDS("birds", dir=str(tmp_path)).load()
    found = tfds._prepared("birds/small", tmp_path)
    assert found == tmp_path / "birds" / "small" / "1.0.0"


def test_cifar10_is_read_without_tensorflow(prepared):
    dataset = TFDS("cifar10", dir=prepared).load()
    assert dataset.spec.size == 50_000 and dataset.spec.shape == (32, 32, 3)
    assert dataset.spec.class_names[:2] == ("airplane", "automobile")
    assert dataset.spec.num_classes == 10
    assert dataset.source.cached == 50_000 * (32 * 32 * 3 + 4)
    batch = dataset.batch(0, seed=0, batch_size=16)
    assert batch["x"].shape == (16, 32, 32, 3) and batch["label"].dtype == np.int32
    assert batch["x"].std() > 30  # images, not blanks
    assert "tensorflow" not in sys.modules
    assert TFDS("cifar10", dir=prepared, split="all").load().spec.size == 60_000
    assert TFDS("cifar10", dir=prepared, split="test[:100]").load().spec.size == 100


def test_cifar10_kept_or_decoded_anew_is_the_same(prepared):
    fields = dict(dir=prepared, split="test[:300]", flip=True)
    kept, anew = (TFDS("cifar10", cache_mb=mb, **fields).load() for mb in (100, 0))
    assert kept.source.cached > 0 and anew.source.cached == 0
    loaders = [
        Loader(kept, seed=0, batch_size=64, stop=12, workers=4),  # epochs: filling, then kept
        Loader(anew, seed=0, batch_size=64, stop=12, workers=2),
    ]
    for a, b in zip(*loaders, strict=True):
        np.testing.assert_array_equal(a["x"], b["x"])
        np.testing.assert_array_equal(a["label"], b["label"])
    for loader in loaders:
        loader.close()


def test_cifar10_can_be_resized(prepared):
    dataset = TFDS("cifar10", dir=prepared, split="test[:8]", image_size=16).load()
    assert dataset.arrays()["x"].shape == (8, 16, 16, 3)


def test_an_unknown_split_names_those_there_are(prepared):
    with pytest.raises(ValueError, match="has the splits train, test, got 'valid'"):
        TFDS("cifar10", dir=prepared, split="valid").load()
