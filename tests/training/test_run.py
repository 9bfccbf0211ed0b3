"""A run read back: its model, its averages, its samples, without the data."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_run

from diffax.data import DataConfig
from diffax.models import VectorMLP
from diffax.training import (
    Config,
    EMAConfig,
    Facts,
    Options,
    Recipe,
    SampleConfig,
    ScheduleConfig,
    from_json,
    load_run,
    prepare,
    to_json,
    train,
)
from diffax.training.ema import power_exponent, reconstruction_weights
from diffax.training.run import facts_of, fitted_model


def test_reads_the_first_average_by_default(whole):
    config, workdir, state = whole
    run = load_run(workdir)
    assert (run.step, run.average, run.config) == (20, "decay_0.99", config)
    assert run.facts.shape == (2,) and run.facts.kind == "points" and run.num_classes == 0
    kernel = run.params["params"]["dense_in"]["kernel"]
    saved = state[".ema['decay_0.99']['params']['dense_in']['kernel']"]
    np.testing.assert_array_equal(kernel, saved)


def test_reads_any_average_and_step_by_name(whole):
    _, workdir, state = whole
    plain = load_run(workdir, ema="none").params["params"]["dense_in"]["kernel"]
    np.testing.assert_array_equal(plain, state[".params['params']['dense_in']['kernel']"])
    assert load_run(workdir, step=10).step == 10
    with pytest.raises(ValueError, match="nearest: power_0.1"):
        load_run(workdir, ema="power_0.2")
    with pytest.raises(FileNotFoundError, match="there are: 5, 10, 15, 20"):
        load_run(workdir, step=11)


def test_builds_an_average_of_another_width(whole):
    config, workdir, _ = whole
    run = load_run(workdir, ema="width=0.1")  # one that was tracked: it must come back
    tracked = load_run(workdir, ema="power_0.1")
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(tracked.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    steps, gamma = [5, 10, 15, 20], power_exponent(0.1)
    weights = reconstruction_weights(steps, [gamma] * 4, 20, power_exponent(0.15))
    snapshots = [load_run(workdir, "power_0.1", s).params["params"]["dense_in"] for s in steps]
    expected = sum(w * np.asarray(s["kernel"]) for w, s in zip(weights, snapshots, strict=True))
    got = load_run(workdir, ema="width=0.15").params["params"]["dense_in"]["kernel"]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    with pytest.raises(ValueError, match="width=W"):
        load_run(workdir, ema="width=2")


def test_folders_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run; train first"):
        load_run(tmp_path / "nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
        load_run(tmp_path)


def test_samples_depend_on_seed_and_number_only(whole):
    _, workdir, _ = whole
    run = load_run(workdir)
    few = run.sample(3, seed=5).x
    assert few.shape == (3, 2) and few.dtype == np.float32
    small = dataclasses.replace(run.config.sample, batch_size=4)
    many = run.sample(7, seed=5, config=small).x
    np.testing.assert_allclose(many[:3], few, atol=1e-6)
    assert not np.allclose(run.sample(3, seed=6).x, few)
    path = run.sample(3, seed=5, trajectory=True).path
    assert path.shape == (2, 3, 2)
    np.testing.assert_allclose(path[-1], few, atol=1e-6)
    with pytest.raises(ValueError, match="no classes"):
        run.sample(2, labels=np.array([0, 1]))


def test_a_model_takes_its_classes_from_the_data():
    facts = facts_of(prepare(_moons()).dataset)
    assert facts.class_names == ("upper", "lower")
    assert fitted_model(VectorMLP(), facts)[0].num_classes == 2
    assert fitted_model(VectorMLP(num_classes=5), facts)[1] == 5
    with pytest.raises(ValueError, match="num_classes is 1"):
        fitted_model(VectorMLP(num_classes=1), facts)
    with pytest.raises(ValueError, match="have 0 classes"):
        fitted_model(VectorMLP(num_classes=1), dataclasses.replace(facts, class_names=()))
    assert fitted_model(VectorMLP(), dataclasses.replace(facts, class_names=()))[1] == 0


def _moons(**changes) -> Config:
    config = tiny_run.tiny_config(steps=2, save_every=2)
    return dataclasses.replace(config, data=DataConfig(name="moons", points=64), **changes)


def test_classes_guidance_and_labels(tmp_path):
    config = _moons(sample=SampleConfig(steps=2, num=4, clip=None, guidance=2.0))
    assert tiny_run.run(tmp_path, config) == 0
    run = load_run(tmp_path)
    samples = run.sample(5)
    assert run.num_classes == 2 and samples.label.tolist() == [0, 1, 0, 1, 0]
    assert (run.sample(2, labels=np.int32(1)).label == 1).all()
    with pytest.raises(ValueError, match="0 to 1"):
        run.sample(2, labels=np.array([0, 3]))


def test_config_json_round_trip():
    config = tiny_run.tiny_config()
    config = dataclasses.replace(
        config,
        ema=EMAConfig(decays=(0.9, 0.99), widths=(0.05,)),
        schedule=ScheduleConfig(name="betas", betas=(0.1, 0.2)),
        data=DataConfig(name="digits", image_size=(16, 8)),
    )
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    data = to_json(config)
    data["train"]["stepz"] = 1
    with pytest.raises(ValueError, match="no field train.stepz; nearest: steps"):
        from_json(data)
    data = to_json(config) | {"model": {"class": "UNot"}}
    with pytest.raises(ValueError, match="UNot"):
        from_json(data)


def test_facts_turn_points_back():
    facts = Facts("points", (2,), 3, mean=(1.0, 2.0), deviation=(2.0, 4.0))
    np.testing.assert_array_equal(facts.coordinates(np.ones((1, 2))), [[3.0, 6.0]])


def test_what_a_recipe_says_at_the_end(tmp_path, whole):
    seen = []

    def summarize(run):
        samples = run.sample(6).x
        seen.append(samples.shape)
        return {"mean": float(samples.mean())}

    config, reference, _ = whole
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    (workdir / "summary.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / f"{tiny_run.STEPS:08d}")
    recipe = Recipe("tiny", "", Path("tiny.py"), config, summarize)
    assert train(recipe, config, workdir, Options(quiet=True)) == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert seen == [(6, 2)] and np.isfinite(summary["mean"]) and summary["step"] == tiny_run.STEPS
    assert 0 <= summary["share_waiting_for_data"] <= 1
    assert train(recipe, config, workdir, Options(quiet=True)) == 0
    assert len(seen) == 1  # done is done
