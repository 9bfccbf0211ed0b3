"""Batches prepared ahead: the same as without, however many threads; and a clean end."""

import threading
import time

import jax
import numpy as np
import pytest

from diffax.data import Dataset, Digits, Loader, Source
from diffax.data.source import columns


@pytest.fixture(scope="module")
def dataset():
    return Digits(flip=True).load()


def test_restored_at_every_position_the_remainder_is_the_same(dataset):
    whole = [dataset.batch(step, seed=2, batch_size=100) for step in range(20)]  # past an epoch
    for start in range(20):
        with Loader(dataset, seed=2, batch_size=100, start=start, stop=20, workers=2) as loader:
            rest = list(loader)
        assert len(rest) == 20 - start
        for got, expected in zip(rest, whole[start:], strict=True):
            for key in expected:
                np.testing.assert_array_equal(got[key], expected[key])


@pytest.mark.parametrize("workers, ahead", [(1, 1), (1, 5), (4, 2), (7, 16)])
def test_neither_workers_nor_depth_change_anything(workers, ahead):
    # A source whose early batches take longest would come out of order if anything could.
    def read(indices):
        time.sleep(0.02 * (indices[0] % 3 == 0))
        return {"x": indices[:, None].astype(np.float32)}

    slow = Dataset("slow", Source(columns((1,), "float32"), 40, read))
    with Loader(slow, seed=0, batch_size=4, stop=15, workers=workers, ahead=ahead) as loader:
        got = [batch["x"] for batch in loader]
    expected = [slow.batch(step, seed=0, batch_size=4)["x"] for step in range(15)]
    np.testing.assert_array_equal(got, expected)


def test_stacks_for_several_steps_a_call(dataset):
    with Loader(dataset, seed=0, batch_size=4, start=3, stop=10, stack=3) as loader:
        stacks, steps = [], []
        for stack in loader:
            stacks.append(stack)
            steps.append(loader.step)
    assert [stack["x"].shape for stack in stacks] == [(3, 4, 8, 8, 1)] * 2 + [(1, 4, 8, 8, 1)]
    assert steps == [6, 9, 10]
    flat = np.concatenate([stack["x"] for stack in stacks])
    expected = [dataset.batch(step, seed=0, batch_size=4)["x"] for step in range(3, 10)]
    np.testing.assert_array_equal(flat, expected)


def test_stacks_may_be_cut_at_chosen_steps(dataset):
    until_ten = lambda step: 10 - step % 10
    with Loader(dataset, seed=0, batch_size=2, start=7, stop=25, stack=until_ten) as loader:
        assert [len(stack["x"]) for stack in loader] == [3, 10, 5]


def test_each_process_gets_its_share(dataset):
    with Loader(dataset, seed=0, batch_size=6, stop=1, process_index=1, process_count=3) as loader:
        (batch,) = loader
    np.testing.assert_array_equal(batch["x"], dataset.batch(0, seed=0, batch_size=6)["x"][2:4])


def test_place_is_called_on_every_batch(dataset):
    with Loader(dataset, seed=0, batch_size=2, stop=3, place=lambda b: ("placed", b)) as loader:
        assert [placed for placed, _ in loader] == ["placed"] * 3
    with Loader(dataset, seed=0, batch_size=2, stop=9, workers=3, place=jax.device_put) as loader:
        for step, batch in enumerate(loader):
            assert isinstance(batch["x"], jax.Array)
            expected = dataset.batch(step, seed=0, batch_size=2)["x"]
            np.testing.assert_array_equal(batch["x"], expected)


def faulty(broken_step, batch_size=4):
    """A set whose given step cannot be read; steps before it are slow."""
    order = []

    def read(indices):
        if (indices >= 1000).any():
            raise OSError("disk on fire")
        time.sleep(0.01)
        return {"x": np.zeros((len(indices), 2), np.float32)}

    def fresh(seed, step, count):
        order.append(step)
        return read(np.full(count, 1000 if step == broken_step else 0))

    source = Source(columns((2,), "float32"), 10, read, fresh=fresh)
    return Dataset("faulty", source), order


def test_an_error_of_a_worker_comes_out_at_its_step_and_ends_the_loader():
    dataset, _ = faulty(broken_step=3)
    loader = Loader(dataset, seed=0, batch_size=4, workers=3)
    for _ in range(3):
        next(loader)
    with pytest.raises(OSError, match="disk on fire") as raised:
        next(loader)
    assert "the batch of step 3" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match="closed"):
        next(loader)
    assert not [t for t in threading.enumerate() if t.name.startswith("diffax-data")]


def test_closing_early_leaves_no_thread_and_the_queue_is_bounded():
    dataset, order = faulty(broken_step=-1)
    with Loader(dataset, seed=0, batch_size=4, workers=2, ahead=4) as loader:
        next(loader)
        time.sleep(0.2)  # long enough for 40 more, were there no bound
        assert max(order) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("diffax-data")]
    with pytest.raises(RuntimeError, match="closed"):
        next(loader)


def test_an_interrupt_while_waiting_loses_no_batch(dataset, monkeypatch):
    with Loader(dataset, seed=0, batch_size=2, start=5) as loader:

        def interrupted():
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(loader._queue[0][2], "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(loader)
        assert loader.step == 5
        expected = dataset.batch(5, seed=0, batch_size=2)["x"]
        np.testing.assert_array_equal(next(loader)["x"], expected)


def test_waiting_is_measured():
    dataset, _ = faulty(broken_step=-1)
    with Loader(dataset, seed=0, batch_size=4, workers=1, ahead=1) as loader:
        for _ in range(10):
            next(loader)
        waited = loader.waited
        assert waited >= 10 * 0.01 * 0.8  # ten batches of 10 ms, nothing done meanwhile
        loader.waited = 0.0
        time.sleep(0.1)  # now the next one is ready
        next(loader)
        assert loader.waited < 0.05


@pytest.mark.parametrize("bad", [dict(workers=0), dict(ahead=0), dict(stack=0)])
def test_counts_below_one_are_refused(dataset, bad):
    with pytest.raises(ValueError, match=">= 1"):
        Loader(dataset, seed=0, batch_size=2, **bad)
