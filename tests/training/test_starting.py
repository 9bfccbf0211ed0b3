"""A run that starts from another one."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_run import run, tiny_config

from diffax.adapters import LowRank
from diffax.objectives import Denoising
from diffax.training import TrainedRun, from_json, load_run, prepare, to_json


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert run(folder, tiny_config(steps=6, save_every=3)) == 0
    return folder


def config_from(source: TrainedRun, **fields):
    objective = Denoising(network=source, **fields)
    return dataclasses.replace(tiny_config(steps=2), objective=objective)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("ema, step", [(None, None), ("none", 3)])
def test_a_run_begins_where_another_one_stood(first, ema, step):
    setup = prepare(config_from(TrainedRun(str(first), ema=ema, step=step)))
    state, frozen = setup.start()
    model = load_run(first, ema, step)
    assert_equal(state.trainable["network"], model.network.params)
    assert frozen == {} and setup.objective.network == model.network.module
    assert setup.objective.sources == {"network": str(first)}


def test_its_parameters_are_kept_by_reference_where_they_are_frozen(first, tmp_path):
    config = config_from(TrainedRun(str(first)), adapter=LowRank(rank=1, pattern="dense.*kernel"))
    assert from_json(to_json(config)) == config
    assert run(tmp_path / "second", config) == 0
    saved = load_run(tmp_path / "second", ema="none").network.params
    assert jax.tree.structure(saved) == jax.tree.structure(load_run(first).network.params)
    # Another checkpoint of the first run is another frozen part.
    other = dataclasses.replace(
        config,
        objective=dataclasses.replace(config.objective, network=TrainedRun(str(first), step=3)),
    )
    with pytest.raises(ValueError, match="is not the one that the run was begun with"):
        run(tmp_path / "second", other, allow_config_change=True)


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="network.path runs/digits"):
        prepare(config_from(TrainedRun()))
    with pytest.raises(FileNotFoundError, match="holds no run; train first"):
        prepare(config_from(TrainedRun(str(tmp_path))))
