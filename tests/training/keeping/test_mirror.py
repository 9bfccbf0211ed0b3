"""A run's copy in a bucket, in fsspec's memory."""

import json

import fsspec
import jax
import numpy as np
import optax
import pytest

from diffax.data import Toy
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import Config, train
from diffax.training.choices import to_json
from diffax.training.keeping import manifest
from diffax.training.keeping.mirror import Mirror, mirrored

ADDRESS = "memory://bucket/run"


@pytest.fixture
def store():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def begin(folder, points=0):
    """A run's folder before its first checkpoint."""
    folder.mkdir(parents=True)
    config = to_json(Config(Toy("moons", num=points), Denoising(VectorMLP(features=8))))
    (folder / "config.json").write_text(json.dumps({"recipe": "r", "config": config}))
    (folder / "lock").write_text("me")
    return folder


def log(folder, step):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": step}) + "\n")


def check_in(folder, step, *, finished=True):
    checkpoint = folder / "checkpoints" / f"{step:08d}"
    (checkpoint / "state").mkdir(parents=True)
    (checkpoint / "state" / "weights").write_bytes(np.full(50, step, np.float32).tobytes())
    if finished:
        manifest.write(checkpoint)
    log(folder, step)


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("address", [ADDRESS, "file://{}/bucket/run"])
def test_an_empty_folder_gets_what_another_one_left(store, tmp_path, address):
    address = address.format(tmp_path)
    here = begin(tmp_path / "here")
    check_in(here, 10)
    check_in(here, 20, finished=False)
    Mirror(here, address).send()
    with mirrored(tmp_path / "there", address) as callbacks:
        assert len(callbacks) == 1
        there = tmp_path / "there"
        unfinished = "checkpoints/00000020/state/weights"
        assert names(there) == names(here) - {"lock", unfinished}
        assert not manifest.problems(there / "checkpoints" / "00000010")
        assert (there / "metrics.jsonl").read_text() == (here / "metrics.jsonl").read_text()


def test_every_checkpoint_is_copied_and_old_ones_go(store, tmp_path):
    here = begin(tmp_path / "run")
    with mirrored(here, ADDRESS) as (mirror,):
        check_in(here, 10)
        mirror.on_save(10, here / "checkpoints" / "00000010")
        mirror._sending.result()
        assert store.cat_file("/bucket/run/metrics.jsonl") == b'{"step": 10}\n'
        checkpoint = here / "checkpoints" / "00000010"
        for path in (checkpoint / "manifest.json", checkpoint / "state" / "weights"):
            path.unlink()
        check_in(here, 20)
    found = {path.removeprefix("/bucket/run/") for path in store.find("/bucket/run")}
    assert found == names(here) - {"lock"}
    assert not any("00000010" in name for name in found)


def test_a_manifest_goes_last_and_is_the_first_to_go(store, tmp_path, monkeypatch):
    """So that a copy that is cut off at any moment has no checkpoint that only looks whole."""
    here = begin(tmp_path / "run")
    check_in(here, 10)
    mirror, calls = Mirror(here, ADDRESS), []
    put, remove = store.put_file, store.rm_file
    monkeypatch.setattr(store, "put_file", lambda a, b: (calls.append(b), put(a, b)))
    monkeypatch.setattr(store, "rm_file", lambda a: (calls.append(a), remove(a)))
    mirror.send()
    assert calls[-1].endswith("00000010/manifest.json")
    assert calls.index("/bucket/run/metrics.jsonl") < calls.index(
        "/bucket/run/checkpoints/00000010/state/weights"
    )
    calls.clear()
    mirror.send()
    assert not calls  # nothing is new
    for path in sorted((here / "checkpoints" / "00000010").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    mirror.send()
    assert calls[0].endswith("manifest.json") and len(calls) == 2


def test_what_is_ahead_or_another_run_s_is_not_overwritten(store, tmp_path):
    ahead, behind = begin(tmp_path / "ahead"), begin(tmp_path / "behind")
    for step in (10, 20):
        check_in(ahead, step)
    check_in(behind, 10)
    Mirror(ahead, ADDRESS).send()
    with pytest.raises(ValueError, match="at step 20, .*behind at step 10: another machine"):
        Mirror(behind, ADDRESS).fetch()
    other = begin(tmp_path / "other", points=100)
    check_in(other, 30)
    with pytest.raises(ValueError, match=r"copy of another run \(data.num is another\)"):
        Mirror(other, ADDRESS).fetch()
    assert Mirror(ahead, ADDRESS).fetch() == 0


def test_a_copy_that_fails_stops_nothing_and_is_told(store, tmp_path, monkeypatch, capsys):
    here = begin(tmp_path / "run")
    check_in(here, 10)

    def fail(*_):
        raise RuntimeError("403: not you")

    monkeypatch.setattr(store, "put_file", fail)
    with pytest.raises(OSError, match="could not be copied to memory://bucket/run: 403: not you"):
        with mirrored(here, ADDRESS) as (mirror,):
            mirror.on_save(10, here)
            mirror._sending.result()
            assert "going on" in capsys.readouterr().err
    with pytest.raises(KeyError):  # what ended the run is what is told
        with mirrored(here, ADDRESS):
            raise KeyError


def test_addresses_that_lead_nowhere_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="is no address"):
        Mirror(tmp_path, "gs:/bucket")
    with pytest.raises(ValueError, match="nowhere"):
        Mirror(tmp_path, "nowhere://bucket/run")
    with mirrored(tmp_path, None) as callbacks:
        assert callbacks == ()


@pytest.mark.slow
def test_a_run_goes_on_from_its_copy_to_the_same_bits(store, tmp_path):
    data = np.random.default_rng(0).normal(size=(64, 2))

    def trained(name):
        return train(
            Denoising(VectorMLP(features=8, num_blocks=1)), data, optax.adam(1e-3),
            tmp_path / name, mirror=ADDRESS, steps=8, batch_size=8, steps_per_call=2, log_every=2,
            save_every=4, sample_every=0, images=False, tensorboard=False, quiet=True,
        )  # fmt: skip

    whole = trained("whole")
    for path in store.find("/bucket/run"):  # as if the machine had died after step 4
        if "00000008" in path or path.endswith("summary.json"):
            store.rm_file(path)
    other = trained("other")
    assert other.step == whole.step == 8
    pairs = zip(*(jax.tree.leaves(run.trainable) for run in (whole, other)), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "other")]
    assert lines[0] == lines[1]
