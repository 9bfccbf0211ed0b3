"""A run read back: its model, its averages, its samples, without the data."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_run

from diffax.conditioning import Labels
from diffax.data import Toy
from diffax.generation import Sampling, generate
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import Config, Options, Recipe, load_run, open_run, train_recipe
from diffax.training.ema import power_exponent, reconstruction_weights


def kernel(model) -> np.ndarray:
    return np.asarray(model.network.params["params"]["dense_in"]["kernel"])


def test_reads_the_first_average_by_default(whole):
    config, workdir, state = whole
    run = open_run(workdir)
    assert (run.step, run.average, run.config) == (20, "decay_0.99", config)
    assert run.spec.shape == (2,) and run.spec.num_classes == 0 and run.spec.size == 512
    name = ".ema['decay_0.99']['network']['params']['dense_in']['kernel']"
    np.testing.assert_array_equal(kernel(run.model), state[name])
    assert run.model.settings == config.sample


def test_reads_any_average_and_step_by_name(whole):
    _, workdir, state = whole
    name = ".trainable['network']['params']['dense_in']['kernel']"
    np.testing.assert_array_equal(kernel(load_run(workdir, ema="none")), state[name])
    assert open_run(workdir, step=10).step == 10
    with pytest.raises(ValueError, match="nearest: power_0.1"):
        load_run(workdir, ema="power_0.2")
    with pytest.raises(FileNotFoundError, match="there are: 5, 10, 15, 20"):
        load_run(workdir, step=11)


def test_builds_an_average_of_another_width(whole):
    _, workdir, _ = whole
    built = load_run(workdir, ema="width=0.1")  # one that was tracked: it must come back
    tracked = load_run(workdir, ema="power_0.1")
    for a, b in zip(
        jax.tree.leaves(built.network.params),
        jax.tree.leaves(tracked.network.params),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    steps, gamma = [5, 10, 15, 20], power_exponent(0.1)
    weights = reconstruction_weights(steps, [gamma] * 4, 20, power_exponent(0.15))
    snapshots = [kernel(load_run(workdir, "power_0.1", s)) for s in steps]
    expected = sum(w * s for w, s in zip(weights, snapshots, strict=True))
    got = kernel(load_run(workdir, ema="width=0.15"))
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
    model = load_run(workdir)
    few = np.asarray(generate(model, num=3, seed=5).data)
    assert few.shape == (3, 2) and few.dtype == np.float32
    many = np.asarray(generate(model, num=7, seed=5, batch_size=4).data)
    np.testing.assert_allclose(many[:3], few, atol=1e-6)
    assert not np.allclose(generate(model, num=3, seed=6).data, few)
    path = generate(model, num=3, seed=5, trajectory=True)
    assert path.states.shape == (3, 3, 2)  # from pure noise on
    np.testing.assert_allclose(model.codec.decode(path.states[-1]), few, atol=1e-6)
    with pytest.raises(ValueError, match="labels says nothing to this model"):
        generate(model, labels=[0, 1])


def _moons(**changes) -> Config:
    config = tiny_run.tiny_config(steps=2, save_every=2)
    return dataclasses.replace(config, data=Toy("moons", num=64), **changes)


def test_classes_guidance_and_labels(tmp_path):
    config = _moons(sample=Sampling(steps=2, num=4, clip=None, guidance=2.0))
    assert tiny_run.run(tmp_path, config) == 0
    model = load_run(tmp_path)
    assert isinstance(model.conditioner, Labels) and model.conditioner.names == ("upper", "lower")
    assert generate(model, num=5).label.tolist() == [0, 1, 0, 1, 0]
    lower = generate(model, labels="lower", num=2)
    assert lower.label.tolist() == [1, 1]
    np.testing.assert_array_equal(generate(model, labels=[1], num=2).data, lower.data)
    unguided = generate(model, labels=[1], num=2, guidance=1)
    assert not np.allclose(unguided.data, lower.data)
    with pytest.raises(ValueError, match="0 to 1"):
        generate(model, labels=[0, 3])


def test_what_a_recipe_says_at_the_end(tmp_path, whole):
    seen = []

    def summarize(run):
        data = np.asarray(generate(run.model, num=6).data)
        seen.append((data.shape, run.step, run.average))
        return {"mean": float(data.mean())}

    config, reference, _ = whole
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    (workdir / "summary.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / f"{tiny_run.STEPS:08d}")
    recipe = Recipe("tiny", "", Path("tiny.py"), config, summarize)
    assert train_recipe(recipe, config, workdir, Options(quiet=True)) == 0
    summary = json.loads((workdir / "summary.json").read_text())
    assert seen == [((6, 2), tiny_run.STEPS, "decay_0.99")]
    assert np.isfinite(summary["mean"]) and summary["step"] == tiny_run.STEPS
    assert 0 <= summary["share_waiting_for_data"] <= 1
    assert train_recipe(recipe, config, workdir, Options(quiet=True)) == 0
    assert len(seen) == 1  # done is done


def test_a_network_of_another_width_is_another_config(tmp_path, whole):
    config, workdir, _ = whole
    other = dataclasses.replace(config, objective=Denoising(VectorMLP(features=32, num_blocks=1)))
    with pytest.raises(ValueError, match="objective.network.features: 16 -> 32"):
        tiny_run.run(workdir, other)
