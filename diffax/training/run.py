"""A trained run, read back: everything that sampling and evaluation need, without the data."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffax.data import Dataset
from diffax.parameterization import Parameterization
from diffax.schedules import Schedule
from diffax.training import ema as averages
from diffax.training.config import Config, from_json, nearest
from diffax.training.generate import Edit, SampleConfig, Samples, generate
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.recipe import load_module


@dataclass(frozen=True)
class Facts:
    """What a model must know of the data it was trained on.

    Attributes:
        kind: "image" (uint8 [H, W, C], in [-1, 1] for the model) or "points" (float32 [D]).
        shape: of one example.
        size: number of examples in the training set.
        class_names: in the labels' order; empty without classes.
        mean, deviation: of points: coordinates = x * deviation + mean, [D]; None for images.
    """

    kind: str
    shape: tuple[int, ...]
    size: int
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 without."""
        return len(self.class_names)

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Points [..., D] of the model's space in the data's own coordinates, float64."""
        return np.asarray(points, np.float64) * np.array(self.deviation) + np.array(self.mean)


def facts_of(dataset: Dataset) -> Facts:
    """The facts of a data set."""
    points = dataset.kind == "points"
    return Facts(
        kind=dataset.kind,
        shape=tuple(int(n) for n in dataset.shape),
        size=int(dataset.size),
        class_names=tuple(dataset.class_names),
        mean=tuple(map(float, dataset.source.mean)) if points else None,
        deviation=tuple(map(float, dataset.source.deviation)) if points else None,
    )


def facts_from_json(data: dict[str, Any]) -> Facts:
    """The facts out of a checkpoint's record."""
    return Facts(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def fitted_model(model: Any, facts: Facts) -> tuple[Any, int]:
    """A config's model with as many classes as the data have, and that number.

    Raises:
        ValueError: the model has fewer classes than the data, or classes and the data none.
    """
    if not hasattr(model, "num_classes"):
        return model, 0
    if model.num_classes is None:
        return model.clone(num_classes=facts.num_classes or None), facts.num_classes
    if not facts.num_classes or model.num_classes < facts.num_classes:
        raise ValueError(
            f"model.num_classes is {model.num_classes}, the data have {facts.num_classes} classes; "
            "leave it at None to take the data's"
        )
    return model, model.num_classes


@dataclass(frozen=True)
class Run:
    """A run at one of its checkpoints.

    Attributes:
        workdir: the run's folder.
        config: resolved.
        facts: of the data it was trained on.
        model: the Flax module, with its number of classes filled in.
        num_classes: of the model; that number is the null label; 0: without classes.
        schedule: the noise schedule.
        parameterization: what the model was asked for.
        params: what `model.apply` takes first.
        step: of the checkpoint.
        average: name of the average that `params` are, "none" for the parameters themselves.
    """

    workdir: Path
    config: Config
    facts: Facts
    model: Any
    num_classes: int
    schedule: Schedule
    parameterization: Parameterization
    params: Any
    step: int
    average: str

    def sample(
        self,
        num: int | None = None,
        *,
        labels: np.ndarray | None = None,
        seed: int | None = None,
        config: SampleConfig | None = None,
        edit: Edit | None = None,
        trajectory: bool = False,
        on_step: Callable[..., None] | None = None,
    ) -> Samples:
        """Draws samples as the run's config says; see `diffax.training.generate.generate`.

        Args:
            num: how many; None: config.num.
            labels: int [num]; None: all classes in turn.
            seed: None: config.seed.
            config: instead of the run's own `config.sample`.
            edit: start from a picture, or keep a part of one.
            trajectory: keep every state.
            on_step: called on the host after every step, see `diffax.sample`.
        """
        return generate(
            self.model.apply,
            self.params,
            self.schedule,
            self.parameterization,
            config or self.config.sample,
            self.facts.shape,
            num=num,
            num_classes=self.num_classes,
            labels=labels,
            seed=seed,
            edit=edit,
            trajectory=trajectory,
            on_step=on_step,
        )


def load_run(workdir: str | Path, ema: str | None = None, step: int | None = None) -> Run:
    """Reads a run's model back, without its data set, onto this machine's first device.

    Args:
        workdir: the run's folder.
        ema: name of an average, as in checkpoints/<step>/record.json; None: the config's first
            average; "none": the parameters themselves; "width=0.12": the power-function average of
            that relative width, put together from all checkpoints (Karras et al. 2024).
        step: of a checkpoint; None: the newest whole one.

    Raises:
        FileNotFoundError: no run or no checkpoint there.
        ValueError: a broken checkpoint was asked for, or an average that was not kept.

    Example:
        >>> run = load_run("runs/digits")  # doctest: +SKIP
        >>> run.sample(16, seed=1).images.shape  # doctest: +SKIP
        (16, 8, 8, 1)
    """
    workdir = Path(workdir)
    checkpoints = Checkpoints(
        workdir / "checkpoints", report=lambda line: print(f"warning: {line}", file=sys.stderr)
    )
    step = _checked_step(checkpoints, workdir, step)
    record = checkpoints.record(step)
    config = config_of(record)
    facts = facts_from_json(record["facts"])
    model, num_classes = fitted_model(config.model, facts)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jnp.zeros((1, *facts.shape)), jnp.zeros((1,))
    )
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    average = (config.ema.names or ("none",))[0] if ema is None else ema
    if average == "none":
        params = checkpoints.restore_params(step, abstract, None)
    elif average.startswith("width="):
        params = _reconstruct(checkpoints, config, abstract, step, average)
    elif average in config.ema.names:
        params = checkpoints.restore_params(step, abstract, average)
    else:
        known = [*config.ema.names, "none", "width=NUMBER"]
        raise ValueError(f"{workdir} keeps no average {ema!r}; {nearest(average, known)}")
    checkpoints.close()
    return Run(
        workdir=workdir,
        config=config,
        facts=facts,
        model=model,
        num_classes=num_classes,
        schedule=config.schedule.build(),
        parameterization=config.loss.build_parameterization(),
        params=params,
        step=step,
        average=average,
    )


def config_of(record: dict[str, Any]) -> Config:
    """The config out of a checkpoint's record or a config.json, its own model classes included."""
    module = record["config"]["model"]["class"].partition(":")[0]
    if module.startswith("diffax_recipe_") and module not in sys.modules:
        path = Path(record["recipe"])
        if path.is_file():
            load_module(path)
    return from_json(record["config"])


def _checked_step(checkpoints: Checkpoints, workdir: Path, step: int | None) -> int:
    known = checkpoints.steps()
    if not known:
        what = "no checkpoint yet" if (workdir / "config.json").is_file() else "no run"
        raise FileNotFoundError(
            f"{workdir} holds {what}; train first: python train.py "
            f"--config NAME --workdir {workdir}"
        )
    if step is None:
        step = checkpoints.newest_whole()
        if step is None:
            raise FileNotFoundError(
                f"{workdir} holds no finished checkpoint; continue its training"
            )
        return step
    if step not in known:
        raise FileNotFoundError(
            f"{workdir} has no checkpoint of step {step}; there are: {', '.join(map(str, known))}"
        )
    problems = checkpoints.problems(step)
    if problems:
        raise ValueError(f"checkpoint {step} of {workdir} is broken: {problems[0]}")
    return step


def _reconstruct(
    checkpoints: Checkpoints, config: Config, abstract: Any, step: int, request: str
) -> Any:
    """The average "width=W" at a step, from the power-function averages of all checkpoints."""
    try:
        gamma = averages.power_exponent(float(request.partition("=")[2]))
    except ValueError as error:
        raise ValueError(f"expected width=W with W in (0, 0.288], got {request!r}") from error
    kept = config.ema.names[-len(config.ema.widths) :] if config.ema.widths else ()
    if not kept:
        raise ValueError(
            f"{request!r} is built from power-function averages, and this run kept none; "
            "train with ema.widths, for instance 0.05 0.1"
        )
    steps = [s for s in checkpoints.steps() if 0 < s <= step and not checkpoints.problems(s)]
    snapshots = [
        (s, name, averages.power_exponent(width))
        for s in steps
        for name, width in zip(kept, config.ema.widths, strict=True)
    ]
    weights = averages.reconstruction_weights(
        [s for s, _, _ in snapshots], [g for _, _, g in snapshots], step, gamma
    )
    total = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float64), abstract)
    for (s, name, _), weight in zip(snapshots, weights, strict=True):
        tree = checkpoints.restore_params(s, abstract, name)
        total = jax.tree.map(lambda t, x, w=weight: t + w * np.asarray(x, np.float64), total, tree)
    return jax.tree.map(lambda t, leaf: jnp.asarray(t, leaf.dtype), total, abstract)


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """The facts as plain data."""
    return dataclasses.asdict(facts)
