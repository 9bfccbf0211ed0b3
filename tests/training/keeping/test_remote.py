"""Runs at an address: trained, continued, sampled and reported without a folder of one's own."""

import json
from types import SimpleNamespace

import chex
import fsspec
import optax
import pytest
import tiny_run

from diffax.commands import report, sample
from diffax.commands import train as command
from diffax.data import Toy
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import load_run, open_run, train
from diffax.training.keeping.remote import begun_in, fetched, pictured, work_folder

ADDRESS = "memory://bucket/run"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty bucket; temporary folders where one can look."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    yield memory
    memory.store.clear()


@pytest.fixture
def at_exit(monkeypatch):
    """What would be done when Python ends, of this file alone."""
    calls = []
    register = SimpleNamespace(register=lambda *call: calls.append(call))
    monkeypatch.setattr("diffax.training.keeping.remote.atexit", register)
    return lambda: [function(*arguments) for function, *arguments in calls]


def trained(steps=8, **settings):
    return train(
        Denoising(VectorMLP(features=8, num_blocks=1)), Toy("moons", num=64), optax.adam(1e-3),
        ADDRESS, steps=steps, batch_size=8, steps_per_call=2, log_every=2, save_every=4,
        sample_every=0, images=False, tensorboard=False, quiet=True, **settings,
    )  # fmt: skip


def test_a_run_at_an_address_is_continued_and_read_there(store, tmp_path, at_exit, capsys):
    trained(4)
    run = trained(8)
    assert run.step == 8
    lines = store.cat_file("/bucket/run/metrics.jsonl").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8]
    chex.assert_trees_all_equal(open_run(ADDRESS).trainable, run.trainable)
    assert load_run(ADDRESS, step=4).shape == (2,)
    with pytest.raises(FileNotFoundError, match="has no checkpoint of step 5; there are: 4, 8"):
        load_run(ADDRESS, step=5)
    assert sample.main(["--workdir", ADDRESS, "--out", "x.npz", "--num", "4", "--steps", "2"]) == 0
    assert f"{ADDRESS} (step 8" in capsys.readouterr().out
    assert report.main([ADDRESS]) == 0
    assert f"Run {ADDRESS}" in (tmp_path / "report.html").read_text()
    at_exit()
    assert not list((tmp_path / "temporary").iterdir())


def test_what_is_fetched_is_what_is_needed(store, tmp_path, at_exit):
    trained(8)
    store.pipe_file("/bucket/run/samples/00000004.png", b"picture")
    model = fetched(ADDRESS, 4)
    assert (model / "config.json").exists() and not (model / "samples").exists()
    assert [p.name for p in (model / "checkpoints").iterdir()] == ["00000004"]
    pictures = pictured(ADDRESS)
    assert (pictures / "samples" / "00000004.png").read_bytes() == b"picture"
    assert not (pictures / "checkpoints").exists()
    assert [p.name for p in begun_in(ADDRESS).iterdir()] == ["config.json"]
    assert not list(begun_in("memory://bucket/other").iterdir())
    assert begun_in("runs/digits").as_posix() == "runs/digits"


def test_what_raises_leaves_the_checkpoints_on_the_machine(tmp_path, at_exit, monkeypatch, capsys):
    """The copying may have failed: nothing else has them."""
    monkeypatch.setattr(
        fsspec.filesystem("memory"), "put_file", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="could not be copied to memory://bucket/run: full"):
        trained(4)
    at_exit()
    (folder,) = (tmp_path / "temporary").iterdir()
    assert f"the run's files on this machine stay in {folder}" in capsys.readouterr().err
    assert open_run(folder).step == 4


def test_what_is_refused_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="steps"):
        trained(0)
    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(ValueError, match="is kept there, and --mirror is another place"):
        with work_folder(ADDRESS, "gs://bucket/other"):
            pytest.fail("two places")
    for path in ("memory://bucket/none",):
        with pytest.raises(FileNotFoundError, match="bucket/none holds no run; train first"):
            load_run(path)


def test_the_command_takes_an_address(store, tmp_path, at_exit, capsys):
    recipe = tmp_path / "tiny.py"
    recipe.write_text(
        "from tiny_run import tiny_config\n\n\ndef config(variant=''):\n    return tiny_config()\n"
    )
    arguments = ["--config", str(recipe), "--workdir", ADDRESS]
    assert command.main([*arguments, "--dry-run"]) == 0
    assert f"for {ADDRESS}:" in capsys.readouterr().out
    assert command.main([*arguments, "--quiet"]) == 0
    assert store.exists("/bucket/run/summary.json")
    assert command.main([*arguments, "--dry-run", "--train.steps", "30"]) == 0
    told = capsys.readouterr().out
    assert f"other than in {ADDRESS}: train.steps: {tiny_run.STEPS} -> 30" in told
