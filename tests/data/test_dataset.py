"""The promise of the data room: the batch of a step is a pure function of (seed, step)."""

import dataclasses

import numpy as np
import pytest

from diffax.data import DataConfig, load

CONFIGS = {
    "fixed points": DataConfig("moons", points=100),
    "fresh points": DataConfig("moons", points=0),
    "pictures": DataConfig("digits"),
    "augmented": DataConfig("digits", flip=True, random_crop=0.3, image_size=6),
}


@pytest.fixture(params=CONFIGS, scope="module")
def dataset(request):
    return load(CONFIGS[request.param])


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key])


def test_a_batch_depends_on_seed_and_step_only(dataset):
    again = load(dataset.config)
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


def test_types_and_shapes(dataset):
    batch = dataset.batch(0, seed=0, batch_size=4)
    assert batch["x"].shape == (4, *dataset.shape)
    assert batch["x"].dtype == (np.uint8 if dataset.kind == "image" else np.float32)
    assert batch["label"].shape == (4,) and batch["label"].dtype == np.int32
    assert batch["label"].max() < dataset.num_classes == len(dataset.class_names)
    everything = dataset.arrays()
    assert everything["x"].shape == (dataset.size, *dataset.shape)
    assert everything["label"].shape == (dataset.size,)


@pytest.mark.parametrize("batch_size", [1, 7, 100, 250])
def test_each_epoch_visits_every_example_once(batch_size):
    dataset = load(CONFIGS["fixed points"])
    steps = 2 * 100 // batch_size + 1
    stream = np.concatenate(
        [dataset.batch(step, seed=3, batch_size=batch_size)["x"] for step in range(steps)]
    )
    every = dataset.arrays()["x"]
    for epoch in range(2):
        seen = stream[epoch * 100 : (epoch + 1) * 100]
        np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(every, axis=0))


def test_labels_stay_with_their_pictures():
    dataset = load(CONFIGS["pictures"])
    every = dataset.arrays()
    of = {image.tobytes(): label for image, label in zip(every["x"], every["label"], strict=True)}
    batch = dataset.batch(11, seed=5, batch_size=64)
    assert [of[image.tobytes()] for image in batch["x"]] == batch["label"].tolist()


def test_labels_can_be_left_out():
    dataset = load(DataConfig("digits", labels=False))
    assert dataset.num_classes == 0
    assert dataset.batch(0, seed=0, batch_size=2).keys() == {"x"}
    assert dataset.arrays().keys() == {"x"}


def test_examples_and_blocks_are_not_augmented():
    plain, augmented = load(DataConfig("digits")), load(DataConfig("digits", flip=True))
    same(plain.examples([3, 1, 4]), augmented.examples([3, 1, 4]))
    blocks = list(augmented.blocks(500))
    assert [len(block["x"]) for block in blocks] == [500, 500, 442]
    same(plain.arrays(), {k: np.concatenate([b[k] for b in blocks]) for k in blocks[0]})


def test_coordinates_undo_the_scaling():
    config = DataConfig("s_curve")
    dataset = load(config)
    raw = load(dataclasses.replace(config, divisor=1.0)).arrays()["x"]
    # float32 points of order 1: a few units in the last place
    np.testing.assert_allclose(dataset.coordinates(dataset.arrays()["x"]), raw, atol=5e-7)
    with pytest.raises(ValueError, match="these are images"):
        load(DataConfig("digits")).coordinates(np.zeros((1, 2)))


@pytest.mark.parametrize(
    "bad, message",
    [
        (dict(step=-1), "step >= 0"),
        (dict(seed=-1), "seed >= 0, got -1"),
        (dict(batch_size=0), "share evenly, got 0"),
        (dict(batch_size=10, process_count=4), "4 processes share evenly, got 10"),
        (dict(process_index=2, process_count=2), "a process below 2, got 2"),
    ],
)
def test_wrong_questions_are_refused(bad, message):
    question = dict(step=0, seed=0, batch_size=8) | bad
    with pytest.raises(ValueError, match=message):
        load(CONFIGS["pictures"]).batch(**question)


def test_the_report_says_what_matters():
    report = load(CONFIGS["augmented"]).summary()
    for fact in ("digits (train)", "1,442 pictures of 6 x 6 x 1", "10 classes", "0 (143)"):
        assert fact in report
    assert "mirrored at random, random crops of up to 30%" in report
    assert "fresh at every step" in load(CONFIGS["fresh points"]).summary()
    assert "model space: (x - [0, 0]) / [10, 10]" in load(DataConfig(divisor=10.0)).summary()
