"""What `--pretrained DIR` fills in."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from diffax.parameterization import V
from diffax.pretrained import PublishedNetwork, PublishedSchedule, PublishedTarget
from diffax.schedules import ScaledLinear
from diffax.training import (
    TrainedAutoencoder,
    TrainedControl,
    TrainedControlReader,
    TrainedReader,
    TrainedRun,
    TrainedToken,
    load_recipe,
    started_from,
    to_json,
)

ROOT = Path(__file__).parents[2]


def recipe(name):
    return load_recipe(f"{name}:debug", ROOT / "configs").config


@pytest.fixture
def run(tmp_path):
    """The config of a run, and the folder of its checkpoints."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    record = {"recipe": "emoji.py", "config": to_json(recipe("emoji"))}
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    return tmp_path / "run"


def test_a_folder_is_the_place_of_every_part_that_has_none(tmp_path):
    config = recipe("lora")
    given = dataclasses.replace(config.objective, schedule=PublishedSchedule("elsewhere"))
    config = started_from(dataclasses.replace(config, objective=given), str(tmp_path))
    objective = config.objective
    assert objective.network == PublishedNetwork(f"{tmp_path}/unet")
    assert objective.codec.path == f"{tmp_path}/vae"
    assert objective.conditioner.path == objective.parameterization.path == str(tmp_path)
    assert objective.schedule.path == "elsewhere"


def test_a_run_stands_for_a_published_model(run):
    emoji = recipe("emoji").objective
    objective = started_from(recipe("lora"), str(run)).objective
    assert objective.network == TrainedRun(str(run))
    assert objective.conditioner == TrainedReader(str(run), dropout=0.1)
    assert objective.schedule == emoji.schedule and objective.codec == emoji.codec
    assert objective.parameterization == emoji.parameterization
    assert objective.adapter == recipe("lora").objective.adapter


def test_a_run_learns_a_new_token_as_a_published_model_does(run):
    objective = started_from(recipe("textual_inversion"), str(run)).objective
    token = TrainedToken(str(run), dropout=0.0, token="<new>", vectors=2, initial="cat")
    assert objective.conditioner == token and objective.network == TrainedRun(str(run))


def test_a_run_learns_a_control_as_a_published_model_does(run):
    objective = started_from(recipe("controlnet"), str(run)).objective
    assert objective.network == TrainedControl(str(run), widths=(8, 16))
    assert objective.conditioner == TrainedControlReader(str(run), dropout=0.5)


def test_of_a_runs_latents_only_the_file_that_was_asked_for_is_kept(run):
    emoji = recipe("emoji")
    latents = TrainedAutoencoder("autoencoder", cache="latents_of_its_data.npz")
    config = dataclasses.replace(
        emoji, objective=dataclasses.replace(emoji.objective, codec=latents)
    )
    record = {"recipe": "emoji.py", "config": to_json(config)}
    (run / "config.json").write_text(json.dumps(record))
    for cache in (None, "mine.npz"):
        lora = recipe("lora")
        given = dataclasses.replace(lora.objective.codec, cache=cache)
        asked = dataclasses.replace(
            lora, objective=dataclasses.replace(lora.objective, codec=given)
        )
        codec = started_from(asked, str(run)).objective.codec
        assert codec == TrainedAutoencoder("autoencoder", cache=cache)


def test_where_a_run_cannot_it_is_said(run, tmp_path):
    with pytest.raises(ValueError, match="EditingNetwork needs a published model"):
        started_from(recipe("instruct"), str(run))
    with pytest.raises(ValueError, match="this recipe has none"):
        started_from(recipe("emoji"), str(run))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        started_from(recipe("lora"), str(tmp_path / "none"))


def test_schedule_and_target_are_what_the_models_scheduler_says(tmp_path):
    (tmp_path / "scheduler").mkdir()
    said = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
    }
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(said))
    assert PublishedTarget(str(tmp_path)).open() == V()
    schedule, known = PublishedSchedule(str(tmp_path)).build(), ScaledLinear().build()
    np.testing.assert_allclose(schedule.at(np.arange(1000)).alpha, known.at(np.arange(1000)).alpha)
    for part in (PublishedTarget(), PublishedSchedule(str(tmp_path / "none"))):
        with pytest.raises((ValueError, FileNotFoundError)):
            part.open() if isinstance(part, PublishedTarget) else part.build()
