"""Weights that a run starts from: another run's, or a published model's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from diffax import hub
from diffax.pretrained import load_pipeline
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.keeping.parts import WEIGHTS, average_part
from diffax.training.keeping.voice import warn
from diffax.training.state import TrainState
from diffax.training.step import Problem


def started(path: str, state: TrainState, places: TrainState, problem: Problem) -> TrainState:
    """A fresh state with the weights that lie somewhere.

    Args:
        path: a run's folder, of which the first average at its newest checkpoint is taken, or a
            published model with `model_index.json`, here or on the hub, of which the network is.
        state: at step 0.
        places: its shapes, types and places.
        problem: the optimizer and the averages, which begin anew from the weights.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: its weights are not those of this run: names the first that differs.
    """
    if (Path(path) / "checkpoints").is_dir():
        trainable = _of_run(path, places.trainable)
    else:
        trainable = _of_published(path, state.trainable, places.trainable)

    def begin(trainable: Any) -> tuple[Any, Any]:
        averages = problem.ema.init(trainable)
        return problem.optimizer.init(trainable), jax.tree.map(jnp.copy, averages)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, (places.opt_state, places.ema))
    opt_state, ema = jax.jit(begin, out_shardings=shardings)(trainable)
    return dataclasses.replace(state, trainable=trainable, opt_state=opt_state, ema=ema)


def _of_run(path: str, wanted: Any) -> Any:
    checkpoints = Checkpoints(Path(path) / "checkpoints", report=warn)
    step = checkpoints.newest_whole()
    if step is None:
        raise FileNotFoundError(f"train.init_from {path} holds no finished checkpoint")
    record = checkpoints.record(step)
    average = next(iter(record.get("averages", [])), None)
    part = f"{WEIGHTS if average is None else average_part(average)}: "
    arrays = record["arrays"].items()
    saved = {name.removeprefix(part): one for name, one in arrays if name.startswith(part)}
    _check_same(path, {name: (tuple(s), kind) for name, (s, kind) in saved.items()}, _named(wanted))
    return checkpoints.restore_params(step, wanted, average)


def _of_published(path: str, own: Any, places: Any) -> Any:
    if hub.name_of(path) is None and not Path(path).exists():
        raise FileNotFoundError(
            f"train.init_from {path}: there is no such run, and no such published model"
        )
    if not isinstance(own, dict) or "network" not in own:
        raise ValueError(f"train.init_from {path}: a published model, and this run has no network")
    params = load_pipeline(path).network.params
    _check_same(path, _named({"network": params}), _named({"network": own["network"]}))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, places["network"])
    return own | {"network": jax.device_put(params, shardings)}


def _named(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every array, by its path in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(p): (tuple(x.shape), str(x.dtype)) for p, x in leaves}


def _check_same(path: str, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in [*wanted, *(n for n in saved if n not in wanted)]:
        if saved.get(name) != wanted.get(name):
            there, here = (_text(one.get(name)) for one in (saved, wanted))
            raise ValueError(
                f"train.init_from {path} has other weights: {name} is {there} there and {here} "
                "here; take the network and conditioner of that run"
            )


def _text(one: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if one is None else f"{one[1]}{list(one[0])}"
