"""Images in parquet files, as the hub has them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from diffax.data import Parquet

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
from pyarrow import parquet  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 6, 5, 3), np.uint8)
LABELS = [i % 3 for i in range(10)]
TEXTS = [f"number {i}" for i in range(10)]


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write(path, rows, *, names=None, wrapped=True, **other):
    """A file as `datasets` writes it."""
    encoded = [png(image) for image in IMAGES[rows]]
    columns = {
        "img": [{"bytes": one, "path": None} for one in encoded] if wrapped else encoded,
        "label": LABELS[rows],
        "text": TEXTS[rows],
        "more": [0.5] * len(encoded),
    }
    table = pyarrow.table(columns | other)
    if names:
        told = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """CIFAR-10's layout, in small: 7 images to train, in two files, and 3 to test."""
    root = tmp_path_factory.mktemp("parquet")
    names = ["cat", "dog", "owl"]
    write(root / "plain_text" / "train-00000-of-00002.parquet", slice(0, 4), names=names)
    write(root / "plain_text" / "train-00001-of-00002.parquet", slice(4, 7), names=names)
    write(root / "plain_text" / "test-00000-of-00001.parquet", slice(7, 10), names=names)
    return root


def test_every_image_with_its_class_and_text(folder):
    dataset = Parquet(str(folder), captions=True).load()
    assert dataset.spec.class_names == ("cat", "dog", "owl") and dataset.spec.shape == (6, 5, 3)
    arrays = dataset.arrays()
    np.testing.assert_array_equal(arrays["x"], IMAGES[:7])
    assert arrays["label"].tolist() == LABELS[:7] and arrays["caption"].tolist() == TEXTS[:7]
    batch = dataset.batch(5, seed=0, batch_size=4)
    rows = [TEXTS.index(text) for text in batch["caption"]]
    np.testing.assert_array_equal(batch["x"], IMAGES[rows])
    for split, size in (("test", 3), ("all", 10)):
        assert Parquet(str(folder), split=split).load().spec.size == size


def test_other_columns_sizes_and_channels(tmp_path):
    kinds = [["b", "a"][i % 2] for i in range(4)]
    write(tmp_path / "mine.parquet", slice(0, 4), wrapped=False, kind=kinds)
    data = Parquet(str(tmp_path / "mine.parquet"), label="kind", channels=1, image_size=4).load()
    assert data.spec.class_names == ("a", "b") and data.spec.shape == (4, 4, 1)
    assert data.arrays()["label"].tolist() == [1, 0, 1, 0]
    assert "label" not in Parquet(str(tmp_path), split="mine", labels=False).load().spec.columns


def test_from_the_hub_only_the_split_is_fetched(folder, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    asked = {}

    def snapshot_download(repo, **options):
        asked.update(options, repo=repo)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert Parquet("hf:org/cifar@v2", split="test").load().spec.size == 3
    assert (asked["repo"], asked["revision"], asked["repo_type"]) == ("org/cifar", "v2", "dataset")
    assert "test-*.parquet" in asked["allow_patterns"]
    assert not any("train" in pattern for pattern in asked["allow_patterns"])


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(dir=None), "parquet needs data.dir"),
        (dict(split="valid"), "has the splits test, train, got 'valid'"),
        (dict(image="picture"), "expected a column picture for data.image.*set data.image"),
        (dict(label="kind"), "expected a column kind for data.label"),
        (dict(captions=True, caption="words"), "no column words; set data.caption"),
        (dict(label="more"), "expected more as whole numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        Parquet(**dict(dir=str(folder)) | fields).load()
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no .parquet files in"):
        Parquet(str(tmp_path)).load()
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        Parquet(str(tmp_path)).load()
    write(tmp_path / "train.parquet", slice(0, 2))
    table = parquet.read_table(tmp_path / "train.parquet")
    broken = table.set_column(0, "img", pyarrow.array([b"no image", b"none"]))
    parquet.write_table(broken, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="row 0"):
        Parquet(str(tmp_path), image_size=4).load().arrays()
