"""The model that a run tunes: `train.py --pretrained DIR`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diffax import hub
from diffax.generation import Model
from diffax.pretrained import (
    ControlReader,
    NewControl,
    PublishedNetwork,
    PublishedReader,
    TokenReader,
    load_pipeline,
    placed,
)
from diffax.training.config import Config
from diffax.training.keeping.workdir import previous_config
from diffax.training.run import load_run
from diffax.training.starting import (
    TrainedControl,
    TrainedControlReader,
    TrainedReader,
    TrainedRun,
    TrainedToken,
)


def started_from(config: Config, folder: str) -> Config:
    """The config with every published part that has no path yet taken from one model.

    Args:
        config: a recipe's, with parts such as `PublishedNetwork()`.
        folder: the published model, with model_index.json, or its name on the hub; or a run of
            train.py, whose network and conditioner are started from, and whose schedule, target and
            codec are taken over.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: the recipe takes no published model, or one that a run cannot stand for.
    """
    if hub.name_of(folder) is None and not Path(folder).is_dir():
        raise FileNotFoundError(f"--pretrained {folder}: there is no such folder")
    objective = config.objective
    parts = {f.name: getattr(objective, f.name) for f in dataclasses.fields(objective)}
    if not any(hasattr(part, "inside") for part in parts.values()):
        raise ValueError(
            "--pretrained says where the parts of a published model are, and this recipe has none; "
            "use one such as lora, or set --network published"
        )
    run = previous_config(Path(folder)) if (Path(folder) / "checkpoints").is_dir() else None
    changes = {
        name: placed(part, folder) if run is None else _of_run(part, name, folder, run)
        for name, part in parts.items()
    }
    return dataclasses.replace(config, objective=dataclasses.replace(objective, **changes))


def _of_run(part: Any, name: str, folder: str, run: Config) -> Any:
    """The part of a run that stands for a published one; other parts as they are."""
    if not hasattr(part, "inside") or part.path:
        return part
    if type(part) is PublishedNetwork:
        return TrainedRun(folder)
    if type(part) is PublishedReader:
        return TrainedReader(folder, dropout=part.dropout)
    if type(part) is TokenReader:
        new = (part.token, part.vectors, part.initial)
        return TrainedToken(folder, None, None, part.dropout, *new)
    if type(part) is NewControl and not part.start:
        return TrainedControl(folder, None, None, part.widths, part.channels, part.seed)
    if type(part) is ControlReader:
        return TrainedControlReader(folder, None, None, part.dropout, part.channels)
    if name in ("schedule", "parameterization", "codec"):
        own = getattr(run.objective, name)
        # The run's own file of latents is of the run's data.
        kept = getattr(part, "cache", None)
        return dataclasses.replace(own, cache=kept) if hasattr(own, "cache") else own
    raise ValueError(
        f"--pretrained {folder} is a run of train.py, and {type(part).__name__} needs a published "
        "model with model_index.json"
    )


def base_model(config: Config) -> Model:
    """The model as it is before tuning.

    Raises:
        FileNotFoundError, ValueError: as `load_pipeline` or `load_run`; no model was given.
    """
    reader: Any = config.objective.conditioner
    path: Any = getattr(reader, "path", "")
    if not path:
        raise ValueError("give the model that is tuned: --pretrained DIR")
    if isinstance(reader, TrainedReader):
        return load_run(path, reader.ema, reader.step)
    return load_pipeline(path)
