"""The model that a run tunes: `train.py --pretrained DIR`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diffax.generation import Model
from diffax.pretrained import load_pipeline, placed
from diffax.training.config import Config


def started_from(config: Config, folder: str) -> Config:
    """The config with the path of every published part that has none yet.

    Args:
        config: a recipe's, with parts such as `PublishedNetwork()`.
        folder: the published model, with model_index.json.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: the recipe takes no published model.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"--pretrained {folder}: there is no such folder")
    objective = config.objective
    parts = {f.name: getattr(objective, f.name) for f in dataclasses.fields(objective)}
    if not any(hasattr(part, "inside") for part in parts.values()):
        raise ValueError(
            "--pretrained says where the parts of a published model are, and this recipe has none; "
            "use one such as lora, or set --network published"
        )
    changes = {name: placed(part, folder) for name, part in parts.items()}
    return dataclasses.replace(config, objective=dataclasses.replace(objective, **changes))


def base_model(config: Config) -> Model:
    """The model as it is before tuning.

    Raises:
        FileNotFoundError, ValueError: as `load_pipeline`; no model was given.
    """
    path: Any = getattr(config.objective.conditioner, "path", "")
    if not path:
        raise ValueError("give the model that is tuned: --pretrained DIR")
    return load_pipeline(path)
