"""Where metrics go: every writer is told everything, and none can stop a run."""

import json
import sys
import types

import numpy as np
import pytest

from diffax.training import TrainConfig
from diffax.training.writers import WandB, Writers, open_writers

ROW = {"step": 5, "loss": 0.5, "images_per_second": 7.0}


def test_tensorboard_has_scalars_and_images(tmp_path):
    writers = open_writers(TrainConfig(), tmp_path, 0, {})
    writers.write(5, ROW)
    writers.image(5, "samples", np.zeros((4, 4, 3), np.uint8))
    writers.close()
    data = next(tmp_path.glob("events.*")).read_bytes()
    for word in (b"loss", b"images_per_second", b"samples"):
        assert word in data


@pytest.fixture
def wandb(monkeypatch):
    """A package of that name, which notes what it is told."""
    told = []

    class Run:
        def log(self, values, step):
            told.append((step, values))

        def finish(self):
            told.append("finished")

    def init(**options):
        told.append(options)
        return Run()

    module = types.ModuleType("wandb")
    module.init, module.Image = init, lambda image: ("image", image.shape)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return told


def test_weights_and_biases_continues_one_run(tmp_path, wandb):
    train = TrainConfig(tensorboard=False, writers=(WandB(project="mine"),))
    for step in (0, 5):  # begun, and continued
        writers = open_writers(train, tmp_path / "run", step, {"data": 1})
        writers.write(step + 1, ROW)
        writers.image(step + 1, "samples", np.zeros((4, 4, 3), np.uint8))
        writers.close()
    first, again = wandb[0], wandb[4]
    assert first == again and first["resume"] == "allow" and len(first["id"]) == 16
    assert (first["project"], first["name"], first["config"]) == ("mine", "run", {"data": 1})
    assert wandb[1:4] == [
        (1, {"loss": 0.5, "images_per_second": 7.0}),
        (1, {"samples": ("image", (4, 4, 3))}),
        "finished",
    ]


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'diffax\[wandb\]'"):
        open_writers(TrainConfig(tensorboard=False, writers=(WandB(),)), tmp_path, 0, {})


def test_a_writer_that_fails_is_reported_and_the_others_go_on(capsys):
    class Failing:
        def write(self, step, values):
            raise ConnectionError("no\nroute")

    told = []
    good = types.SimpleNamespace(write=lambda step, values: told.append((step, values)))
    Writers([Failing(), good]).write(5, ROW)
    assert told == [(5, {"loss": 0.5, "images_per_second": 7.0})]
    assert "Failing.write failed (ConnectionError: no route)" in capsys.readouterr().err


def test_old_folders_without_the_field_are_read(tmp_path):
    from diffax.data import Toy
    from diffax.models import VectorMLP
    from diffax.objectives import Denoising
    from diffax.training import Config, from_json, to_json
    from diffax.training.config import may_change

    plain = to_json(Config(Toy(), Denoising(VectorMLP())))
    del plain["train"]["writers"], plain["train"]["init_from"]
    assert from_json(json.loads(json.dumps(plain))).train == TrainConfig()
    assert may_change("train.writers") and may_change("train.writers.wandb.project")
    assert not may_change("train.init_from")
