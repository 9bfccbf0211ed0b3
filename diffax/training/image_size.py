"""The size of a run's images, where another run begins with what it has learned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diffax.data import ImageOptions, Spec
from diffax.training.choices import from_json
from diffax.training.config import Config
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.keeping.voice import warn
from diffax.training.starting import TrainedAutoencoder


def trained_size(folder: str | Path) -> tuple[int, int] | None:
    """Height and width of the images that a run was trained on.

    Returns:
        None where they are none, or where the folder holds no finished checkpoint.

    Raises:
        ValueError: a damaged record.
    """
    checkpoints = Checkpoints(Path(folder) / "checkpoints")
    steps = checkpoints.finished()
    if not steps:
        return None
    record = checkpoints.record(steps[-1])
    spec, data = Spec.from_json(record.get("facts")), from_json(record.get("config")).data
    if not spec.is_image:
        return None
    # With aspect buckets the spec has the commonest of the shapes.
    return getattr(data, "size", None) or (spec.shape[0], spec.shape[1])


def sized_as(config: Config, folder: str | Path) -> Config:
    """A recipe's config with images of the size that a run was trained on.

    Args:
        config: as the recipe has it; what the command line says comes on top.
        folder: as of `started_from`; for a published model nothing changes.
    """
    size = trained_size(folder)
    if size is None or not isinstance(config.data, ImageOptions):
        return config
    height, width = size
    data = dataclasses.replace(config.data, image_size=height if height == width else size)
    return dataclasses.replace(config, data=data)


def warn_of_another_size(recipe: Any, spec: Spec) -> None:
    """Says so where an autoencoder is given images of another size than it has learned.

    It can be meant: an autoencoder may learn on crops.

    Args:
        recipe: an objective's.
        spec: of the data.
    """
    codec = getattr(recipe, "codec", None)
    if not isinstance(codec, TrainedAutoencoder):
        return
    size = trained_size(codec.path)
    if size is not None and size != tuple(spec.shape[:2]):
        warn(
            f"the autoencoder of {codec.path} was trained on images of {size[0]}x{size[1]}, these "
            f"have {spec.shape[0]}x{spec.shape[1]}; --data.image_size {size[0]} {size[1]} gives it "
            "the size it knows"
        )
