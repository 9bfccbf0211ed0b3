"""Training from a script or notebook: objects in, a run out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optax

from diffax.data import given
from diffax.evaluation import Evaluation
from diffax.generation import Sampling
from diffax.nearest import nearest
from diffax.training import choices
from diffax.training.callbacks import check_callbacks
from diffax.training.config import Config, TrainConfig
from diffax.training.ema import EMAConfig
from diffax.training.keeping.remote import work_folder
from diffax.training.loop import Options, train_recipe
from diffax.training.optimizer import Optimizer
from diffax.training.recipe import Recipe
from diffax.training.run import Run, open_run
from diffax.training.transformation import Transformation

SCRIPT = Path("a script")  # in place of a recipe's file, in a run's folder


def train(
    objective: Any,
    data: Any,
    optimizer: Optimizer | optax.GradientTransformation,
    workdir: str | Path,
    *,
    ema: EMAConfig | None = None,
    sample: Sampling | None = None,
    evaluation: Evaluation | None = None,
    callbacks: Sequence[Any] = (),
    summarize: Callable[[Run], dict[str, Any]] | None = None,
    allow_config_change: bool = False,
    mirror: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Trains, or continues where the run's folder has got to.

    It is the training of train.py, without a recipe: the same folder, checkpoints and bitwise
    resume. What is given again is checked against the folder: the config field by field, functions
    by their names, data by their columns and some examples, an optax transformation by what it
    computes.

    Args:
        objective: what is learned, such as `Denoising(network)`.
        data: a noun of `diffax.data`, arrays, or anything with a length that gives examples; see
            `diffax.data.given`.
        optimizer: ours, or any optax transformation, with its own learning rate and clipping.
        workdir: the run's folder, made where missing; or an address, gs://BUCKET/RUN, s3://...
        ema: which averages are kept.
        sample: how samples are drawn.
        evaluation: which metrics are computed on the way.
        callbacks: told of steps, lines and checkpoints; see `Callback`.
        summarize: `run -> {name: figure}`, added to summary.json at the end.
        allow_config_change: continue although something that decides what is learned is another.
        mirror: address of a copy of the folder, kept up with every checkpoint and fetched where
            the folder is empty.
        quiet: no progress, only warnings.
        **settings: fields of `TrainConfig`: steps, batch_size, log_every, save_every, ...

    Returns:
        The run at its newest checkpoint: `run.model` for `generate`, `run.step` (below `steps`
        where Ctrl-C stopped it).

    Raises:
        ValueError, FileNotFoundError: something does not fit; nothing was overwritten.
        NonFinite: a loss or gradient was not finite.
        SaveError: the last checkpoint could not be written.

    Example:
        >>> import numpy as np, optax, tempfile
        >>> from diffax.models import VectorMLP
        >>> from diffax.objectives import Denoising
        >>> x = np.random.default_rng(0).normal(size=(256, 2))
        >>> objective = Denoising(VectorMLP(features=16, num_blocks=1))
        >>> settings = dict(steps=4, batch_size=8, sample_every=0, images=False, quiet=True)
        >>> run = train(objective, x, optax.adam(1e-3), tempfile.mkdtemp(), **settings)
        >>> run.step, run.model.shape
        (4, (2,))
    """
    config = Config(
        data=given(data),
        objective=objective,
        optimizer=_optimizer(optimizer),
        ema=ema or EMAConfig(),
        train=_settings(settings),
        sample=sample or Sampling(),
        evaluation=evaluation or Evaluation(),
    )
    _check_kept(config)
    recipe = Recipe(str(workdir).rstrip("/").rpartition("/")[2], "", SCRIPT, config, summarize)
    callbacks = check_callbacks(callbacks)
    with work_folder(workdir, mirror) as (folder, copy):
        options = Options(
            allow_config_change=allow_config_change, quiet=quiet, callbacks=callbacks, mirror=copy
        )
        train_recipe(recipe, config, folder, options)
        return dataclasses.replace(open_run(folder, objective=objective), config=config)


def _optimizer(optimizer: Any) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"expected an Optimizer or an optax transformation, got {type(optimizer).__name__}"
        )
    return Optimizer(method=Transformation.of(optimizer), clip=None)


def _settings(given: dict[str, Any]) -> TrainConfig:
    known = [f.name for f in dataclasses.fields(TrainConfig)]
    for name in given:
        if name not in known:
            raise ValueError(f"train has no argument {name!r}; {nearest(name, known)}")
    return TrainConfig(**given)


def _check_kept(config: Config) -> None:
    """Refuses what a run's folder could not keep: the run could not be continued."""
    try:
        choices.from_json(choices.to_json(config))
    except TypeError as error:
        raise ValueError(
            f"every field should be a plain value, a noun or a function with a name ({error})"
        ) from None
