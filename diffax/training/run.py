"""A trained run, read back: a `Model`, and what else its folder knows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffax import hub
from diffax.codecs import Codec
from diffax.data import Dataset, Spec
from diffax.generation import Model
from diffax.nearest import nearest
from diffax.objectives import Objective
from diffax.training import choices
from diffax.training import ema as averages
from diffax.training.config import Config
from diffax.training.dotted import flatten
from diffax.training.keeping.bucket import is_address
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.keeping.frozen import check_frozen
from diffax.training.keeping.remote import fetched
from diffax.training.keeping.voice import warn
from diffax.training.keeping.workdir import check_workdir
from diffax.training.recipe import load_module
from diffax.training.setup import example_of, references_of
from diffax.training.state import frozen_parts, make_begin

FILES = ("config.json", "summary.json", "checkpoints/*")  # what a run is read from


@dataclass(frozen=True)
class Run:
    """A run at one of its checkpoints.

    Attributes:
        workdir: the run's folder.
        config: resolved.
        spec: what the data set said of itself.
        step: of the checkpoint.
        average: name of the average that the parameters are, "none" for the parameters themselves.
        model: ready for `diffax.generation.generate`; None where the objective makes no such model.
        objective: as it was built.
        trainable: the learned parameters, of this average.
        frozen: what else the loss needs.
    """

    workdir: Path
    config: Config
    spec: Spec
    step: int
    average: str
    model: Model | None
    objective: Objective
    trainable: Any
    frozen: Any

    @functools.cached_property
    def dataset(self) -> Dataset:
        """What was trained on."""
        return self.config.data.load()

    @functools.cached_property
    def codec(self) -> Codec | None:
        """Data <-> model space: the model's own, or what an autoencoder's run has learned."""
        if self.model is not None:
            return self.model.codec
        learn = getattr(self.objective, "learned_codec", None)
        return None if learn is None else learn(self.trainable, self.frozen)

    def model_to_sample(self) -> Model:
        """The model.

        Raises:
            ValueError: the objective of this run makes none.
        """
        if self.model is None:
            objective = type(self.config.objective).__name__
            hint = "" if self.codec is None else "; load_codec gives what it learned"
            raise ValueError(
                f"{self.workdir}: {objective} learns no model that makes samples{hint}"
            )
        return self.model


def run_folder(workdir: str | Path, step: int | None = None) -> Path:
    """Where the files of a run lie on this machine, fetched where it is another place's.

    Args:
        workdir: see `load_run`.
        step: see `load_run`.

    Raises:
        FileNotFoundError: there is no such run on the hub or in the bucket.
        ValueError: they cannot be read; or no folder.
    """
    if is_address(str(workdir)):
        return fetched(str(workdir), step)
    return hub.located(check_workdir(workdir), FILES, bare=False)


def load_run(workdir: str | Path, ema: str | None = None, step: int | None = None) -> Model:
    """The model of a run of train.py.

    Args:
        workdir: the run's folder; hf:ORG/NAME[@REVISION] where `save_run` and `push` put it; or the
            address of a bucket, gs://BUCKET/RUN.
        ema: name of an average, "none" for the parameters themselves, or "width=W"; None: the
            first average.
        step: of a checkpoint; None: the newest whole one.

    Raises:
        FileNotFoundError: no run, or no such checkpoint.
        ValueError: a broken checkpoint, an unknown average, an objective that makes no model, or a
            recipe with classes of its own whose code was not imported (see `open_run`).

    Example:
        >>> from diffax.generation import generate
        >>> model = load_run("runs/digits")  # doctest: +SKIP
        >>> images = generate(model, num=16).images  # doctest: +SKIP
    """
    return open_run(workdir, ema, step).model_to_sample()


def load_codec(workdir: str | Path, ema: str | None = None, step: int | None = None) -> Codec:
    """The codec of a run of train.py, such as the autoencoder that it learned.

    Args:
        workdir: see `load_run`.
        ema: see `load_run`.
        step: see `load_run`.

    Raises:
        FileNotFoundError, ValueError: as `load_run`; a run that has none.

    Example:
        >>> codec = load_codec("runs/emoji_autoencoder")  # doctest: +SKIP
        >>> copies = codec.decode(codec.encode(images))  # doctest: +SKIP
    """
    run = open_run(workdir, ema, step)
    if run.codec is None:
        raise ValueError(f"{workdir}: {type(run.config.objective).__name__} has no codec")
    return run.codec


def open_run(
    workdir: str | Path,
    ema: str | None = None,
    step: int | None = None,
    *,
    trust: bool = False,
    objective: Any = None,
) -> Run:
    """A run with its config, step and model; arguments as for `load_run`.

    Args:
        workdir: see `load_run`.
        ema: see `load_run`.
        step: see `load_run`.
        trust: run the code of the recipe file that the folder names, where the recipe has classes
            of its own. Only for folders that you trust: that file may hold anything.
        objective: as it was given to `train`, where it holds functions, which the folder only
            names.
    """
    workdir = run_folder(workdir, step)
    checkpoints = Checkpoints(workdir / "checkpoints", report=warn)
    try:
        step = _checked_step(checkpoints, workdir, step)
        record = checkpoints.record(step)
        if trust:
            trust_recipe(record)
        given = {} if objective is None else {"objective": objective}
        config = choices.from_json(record.get("config"), **given)
        _check_read(config, workdir)
        spec = Spec.from_json(record.get("facts"))
        objective = config.objective.build(spec)
        check_frozen(record.get("frozen", []), references_of(objective))
        trainable_shapes, frozen = _frozen(config, objective, spec)
        trainable, average = _restored(checkpoints, config, trainable_shapes, step, ema, workdir)
    finally:
        checkpoints.close()
    model = objective.model(trainable, frozen, config.sample)
    return Run(workdir, config, spec, step, average, model, objective, trainable, frozen)


def _check_read(config: Config, workdir: Path) -> None:
    """Refuses to go on with names of functions in place of functions."""
    for name, value in flatten(config.objective, "objective.").items():
        if isinstance(value, choices.Unread):
            raise ValueError(
                f"{workdir}: {name} is a function of a script, {value}, which the folder only "
                "names; give it: open_run(workdir, objective=...)"
            )


def trust_recipe(record: dict[str, Any]) -> None:
    """Runs the recipe file that a record names, so that classes defined in it are found."""
    path = Path(str(record.get("recipe", "")))
    if not path.is_file():
        raise FileNotFoundError(f"the run's recipe {path} is not there; give it with --config")
    load_module(path)


def _frozen(config: Config, objective: Objective, spec: Spec) -> tuple[Any, Any]:
    """Shapes of the learned parameters, and the frozen ones."""
    example = example_of(objective, spec)
    begin = make_begin(objective, example, lambda _: optax.identity(), averages.EMAConfig(()))
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    state, frozen = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        jax.eval_shape(begin, jax.ShapeDtypeStruct((), jnp.uint32), objective.loaded),
    )
    return state.trainable, frozen_parts(begin, config.train.seed, objective.loaded, frozen)


def _restored(
    checkpoints: Checkpoints,
    config: Config,
    shapes: Any,
    step: int,
    ema: str | None,
    workdir: Path,
) -> tuple[Any, str]:
    """The parameters asked for, and the name of the average that they are."""
    average = (config.ema.names or ("none",))[0] if ema is None else ema
    if average == "none":
        return checkpoints.restore_params(step, shapes, None), average
    if average.startswith("width="):
        return _reconstruct(checkpoints, config, shapes, step, average), average
    if average in config.ema.names:
        return checkpoints.restore_params(step, shapes, average), average
    known = [*config.ema.names, "none", "width=NUMBER"]
    raise ValueError(f"{workdir} keeps no average {ema!r}; {nearest(average, known)}")


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
    checkpoints: Checkpoints, config: Config, shapes: Any, step: int, request: str
) -> Any:
    """The average "width=W" at a step, from the power-function averages of all checkpoints."""
    try:
        gamma = averages.power_exponent(float(request.partition("=")[2]))
    except ValueError as error:
        raise ValueError(f"expected width=W with W in (0, 0.288], got {request!r}") from error
    kept: Sequence[str] = config.ema.names[-len(config.ema.widths) :] if config.ema.widths else ()
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
    total = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float64), shapes)
    for (s, name, _), weight in zip(snapshots, weights, strict=True):
        tree = checkpoints.restore_params(s, shapes, name)
        total = jax.tree.map(lambda t, x, w=weight: t + w * np.asarray(x, np.float64), total, tree)
    return jax.tree.map(lambda t, leaf: jnp.asarray(t, leaf.dtype), total, shapes)
