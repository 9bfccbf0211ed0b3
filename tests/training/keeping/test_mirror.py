"""A run's copy in a bucket, in fsspec's memory."""

import json

import chex
import fsspec
import jax
import numpy as np
import optax
import pytest
from tiny_run import tiny_config

from diffax.data import Toy
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import Checkpoints, Config, prepare, train
from diffax.training.choices import to_json
from diffax.training.keeping import manifest
from diffax.training.keeping.mirror import Mirror, mirrored
from diffax.training.keeping.signals import Interrupted, StopRequest

ADDRESS = "memory://bucket/run"


@pytest.fixture
def store():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def copied(folder, address):
    return mirrored(folder, address, StopRequest())


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
    with copied(tmp_path / "there", address):
        there = tmp_path / "there"
        unfinished = "checkpoints/00000020/state/weights"
        assert names(there) == names(here) - {"lock", unfinished}
        assert not manifest.problems(there / "checkpoints" / "00000010")
        assert (there / "metrics.jsonl").read_text() == (here / "metrics.jsonl").read_text()


def test_every_checkpoint_is_copied_and_old_ones_go(store, tmp_path):
    here = begin(tmp_path / "run")
    with copied(here, ADDRESS) as mirror:
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
        with copied(here, ADDRESS) as mirror:
            mirror.on_save(10, here)
            mirror._sending.result()
            assert "going on" in capsys.readouterr().err
    with pytest.raises(KeyError):  # what ended the run is what is told
        with copied(here, ADDRESS):
            raise KeyError


def test_addresses_that_lead_nowhere_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="is no address"):
        Mirror(tmp_path, "gs:/bucket")
    with pytest.raises(ValueError, match="nowhere"):
        Mirror(tmp_path, "nowhere://bucket/run")
    with copied(tmp_path, None) as mirror:
        assert mirror is None


def test_to_be_asked_to_stop_ends_the_first_copying_at_once(store, tmp_path):
    here = begin(tmp_path / "here")
    check_in(here, 10)
    Mirror(here, ADDRESS).send()
    stop = StopRequest()
    stop.status = 143
    with pytest.raises(Interrupted), mirrored(tmp_path / "there", ADDRESS, stop):
        pytest.fail("nobody waits for it")
    assert not (tmp_path / "there").exists()


# ---------------------------------------------------------------- folders of their own


def test_without_a_copy_all_processes_must_see_one_folder(tmp_path):
    with pytest.raises(ValueError, match="not all processes see one --workdir .* an address as"):
        with mirrored(tmp_path, None, StopRequest(), seen=False):
            pytest.fail("they would write checkpoints that nobody can read")


def test_process_0_makes_the_copy_what_its_folder_is(store, tmp_path):
    """What it saved before it died and could not copy any more, the others fetch from there."""
    here = begin(tmp_path / "here")
    check_in(here, 10)
    with copied(here, ADDRESS):
        pass
    check_in(here, 20)
    Mirror(here, ADDRESS, apart=True).begin()
    assert "/bucket/run/checkpoints/00000020/manifest.json" in store.find("/bucket/run")


def test_others_have_the_config_and_the_checkpoint_to_go_on_from(store, tmp_path):
    here, there = begin(tmp_path / "here"), tmp_path / "there"
    other = Mirror(there, ADDRESS, apart=True, seen=False)
    other.join()
    assert not there.exists()  # the run has not begun
    for step in (10, 20):
        check_in(here, step)
    Mirror(here, ADDRESS, apart=True).begin()
    other.join()
    assert names(there) == {"config.json"}
    other.bring(10)
    wanted = {n for n in names(here) if "00000010" in n}
    assert names(there) == wanted | {"config.json"}
    # What is whole is not fetched again, what is damaged is, and what is gone there goes here.
    weights = there / "checkpoints" / "00000010" / "state" / "weights"
    before = weights.stat().st_mtime_ns
    other.bring(10)
    assert weights.stat().st_mtime_ns == before
    weights.write_bytes(b"other")
    other.bring(10)
    assert not manifest.problems(there / "checkpoints" / "00000010")
    for path in store.find("/bucket/run/checkpoints/00000010"):
        store.rm_file(path)
    other.bring(20)
    assert not (there / "checkpoints" / "00000010").exists()
    with pytest.raises(ValueError, match="memory://bucket/run has no checkpoint of step 10"):
        other.bring(10)


def test_others_refuse_to_lose_what_they_hold(store, tmp_path):
    here, there = begin(tmp_path / "here"), begin(tmp_path / "there")
    other = Mirror(there, ADDRESS, apart=True, seen=False)
    with pytest.raises(ValueError, match="there holds a run, and memory://bucket/run does not"):
        other.join()
    check_in(here, 10)
    Mirror(here, ADDRESS).send()
    other.join()
    check_in(there, 20)
    with pytest.raises(ValueError, match="there is at step 20, memory://.* at step 10; make its"):
        other.join()
    stranger = begin(tmp_path / "stranger", points=100)
    with pytest.raises(ValueError, match="copy of another run"):
        Mirror(stranger, ADDRESS, apart=True, seen=False).join()


def test_one_process_saves_what_all_hold(tmp_path):
    """As machines with folders of their own do it."""
    state, brought = prepare(tiny_config()).start()[0], []
    together = Checkpoints(tmp_path / "together")
    alone = Checkpoints(tmp_path / "alone", bring=brought.append)
    for checkpoints in (together, alone):
        checkpoints.save(state, {})
        checkpoints.wait()
        assert checkpoints.newest_whole() == 0
    assert brought == [0]
    places = prepare(tiny_config()).places[0]
    states = [c.restore(0, places) for c in (together, alone)]
    chex.assert_trees_all_equal(*states)
    assert states[1].step.sharding == places.step.sharding


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
