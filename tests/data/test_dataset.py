"""The promise of the data room: the batch of a step is a pure function of (seed, step)."""

import numpy as np
import pytest

from diffax.data import Column, Dataset, Digits, ImageOptions, Source, Toy
from diffax.data.source import columns

SETS = {
    "fixed vectors": Toy("moons", num=100),
    "fresh vectors": Toy("moons", num=0),
    "images": Digits(),
    "augmented": Digits(flip=True, random_crop=0.3, image_size=6),
}


@pytest.fixture(params=SETS, scope="module")
def data(request):
    return SETS[request.param]


@pytest.fixture(scope="module")
def dataset(data):
    return data.load()


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key])


def test_a_batch_depends_on_seed_and_step_only(data, dataset):
    again = data.load()
    again.batch(5, seed=9, batch_size=3)  # what was asked before leaves no trace
    for step in (0, 7, 31):
        same(dataset.batch(step, seed=1, batch_size=12), again.batch(step, seed=1, batch_size=12))
    one = dataset.batch(3, seed=1, batch_size=12)["x"]
    assert not np.array_equal(one, dataset.batch(4, seed=1, batch_size=12)["x"])
    assert not np.array_equal(one, dataset.batch(3, seed=2, batch_size=12)["x"])


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_the_very_same_batch(dataset, processes):
    whole = dataset.batch(17, seed=0, batch_size=12)
    parts = [
        dataset.batch(17, seed=0, batch_size=12, process_index=p, process_count=processes)
        for p in range(processes)
    ]
    assert all(len(part["x"]) == 12 // processes for part in parts)
    same(whole, {key: np.concatenate([part[key] for part in parts]) for key in whole})


def test_stacks_are_the_batches(dataset):
    share = dict(process_index=1, process_count=2)
    stack = dataset.batches(8, 5, seed=0, batch_size=6, **share)
    for i in range(5):
        one = dataset.batch(8 + i, seed=0, batch_size=6, **share)
        same(one, {key: value[i] for key, value in stack.items()})


def test_batches_are_what_the_spec_says(dataset):
    spec = dataset.spec
    batch, everything = dataset.batch(0, seed=0, batch_size=4), dataset.arrays()
    assert batch.keys() == everything.keys() == spec.columns.keys() == {"x", "label"}
    for key, column in spec.columns.items():
        assert batch[key].shape == (4, *column.shape) and batch[key].dtype == column.dtype
        assert everything[key].shape == (spec.size, *column.shape)
    assert spec.columns["label"] == Column((), "int32")
    assert spec.columns["x"].dtype == ("uint8" if spec.is_image else "float32")
    assert batch["label"].max() < spec.num_classes == len(spec.class_names)
    assert (spec.mean is None) == (spec.std is None) == spec.is_image


@pytest.mark.parametrize("batch_size", [1, 7, 100, 250])
def test_each_epoch_visits_every_example_once(batch_size):
    dataset = SETS["fixed vectors"].load()
    steps = 2 * 100 // batch_size + 1
    stream = np.concatenate(
        [dataset.batch(step, seed=3, batch_size=batch_size)["x"] for step in range(steps)]
    )
    every = dataset.arrays()["x"]
    for epoch in range(2):
        seen = stream[epoch * 100 : (epoch + 1) * 100]
        np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(every, axis=0))


def test_labels_stay_with_their_images():
    dataset = SETS["images"].load()
    every = dataset.arrays()
    of = {image.tobytes(): label for image, label in zip(every["x"], every["label"], strict=True)}
    batch = dataset.batch(11, seed=5, batch_size=64)
    assert [of[image.tobytes()] for image in batch["x"]] == batch["label"].tolist()


@pytest.mark.parametrize(
    "data", [Digits(labels=False), Toy("moons", labels=False), Toy("moons", num=0, labels=False)]
)
def test_labels_can_be_left_out(data):
    dataset = data.load()
    assert dataset.spec.class_names == () and dataset.spec.columns.keys() == {"x"}
    assert dataset.batch(0, seed=0, batch_size=2).keys() == {"x"}
    assert dataset.arrays().keys() == {"x"}


def test_examples_and_blocks_are_not_augmented():
    plain, augmented = Digits().load(), Digits(flip=True).load()
    same(plain.examples([3, 1, 4]), augmented.examples([3, 1, 4]))
    blocks = list(augmented.blocks(500))
    assert [len(block["x"]) for block in blocks] == [500, 500, 442]
    same(plain.arrays(), {k: np.concatenate([b[k] for b in blocks]) for k in blocks[0]})


@pytest.mark.parametrize("field", [{"flip": True}, {"random_crop": 0.1}, {"image_size": 4}])
def test_image_options_are_for_images(field):
    source = Source(columns((4, 4, 3), "float32"), 1, read=lambda rows: {})
    with pytest.raises(ValueError, match=r"are for images .* these data are float32 \[4, 4, 3\]"):
        Dataset("latents", source, ImageOptions(**field))


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(step=-1), "step >= 0"),
        (dict(seed=-1), "seed from 0 to .*got -1"),
        (dict(batch_size=0), "share evenly, got 0"),
        (dict(batch_size=10, process_count=4), "4 processes share evenly, got 10"),
        (dict(process_index=2, process_count=2), "a process below 2, got 2"),
    ],
)
def test_wrong_questions_are_refused(bad, message):
    question = dict(step=0, seed=0, batch_size=8) | bad
    with pytest.raises(ValueError, match=message):
        SETS["images"].load().batch(**question)


def test_the_report_says_what_matters():
    report = SETS["augmented"].load().summary()
    for fact in ("digits (train)", "1,442 images of 6 x 6 x 1", "10 classes", "0 (143)"):
        assert fact in report
    assert "mirrored at random, random crops of up to 30%" in report
    report = SETS["fresh vectors"].load().summary()
    assert "moons (train): fresh at every step: vectors of 2" in report
    assert "2 classes: upper, lower\n" in report  # not counted: there is no end of them
    assert "mean [0.4998, 0.2496], standard deviation [0.8672, 0.4966]" in report
