"""From a name to a data set."""

from __future__ import annotations

import dataclasses
import difflib

from diffax.data import arrays, digits, image_folder, tfds_source, toy
from diffax.data.config import DataConfig
from diffax.data.dataset import Dataset

_GENERAL = {"name", "split", "labels"}
_PICTURES = {"image_size", "flip", "random_crop"}
_FIELDS = {  # which fields of DataConfig each source can use
    "toy": _GENERAL | {"points", "noise", "divisor", "data_seed"},
    "digits": _GENERAL | _PICTURES,
    "image_folder": _PICTURES
    | {"name", "dir", "labels", "channels", "background", "captions", "cache_mb"},
    "array": _PICTURES | {"name", "dir", "labels", "divisor"},
    "tfds": _GENERAL | _PICTURES | {"dir", "cache_mb"},
}


_MODULES = {"digits": digits, "image_folder": image_folder, "array": arrays}


def load(config: DataConfig) -> Dataset:
    """Opens the data set that a config names.

    Args:
        config: see `DataConfig`.

    Returns:
        The data set; its `summary()` is the report to show at the start of a run.

    Raises:
        ValueError: an unknown name, a field that this source cannot use, or data of a kind that
            cannot be used.
        FileNotFoundError: nothing where `config.dir` points; the line says what to do.
    """
    if config.name in toy.TOYS:
        kind, module = "toy", toy
    elif config.name in _MODULES:
        kind, module = config.name, _MODULES[config.name]
    elif tfds_source.knows(config):
        kind, module = "tfds", tfds_source
    else:
        known = [*toy.TOYS, *_MODULES, *tfds_source.names()]
        near = difflib.get_close_matches(config.name, known, n=3, cutoff=0.6)
        hint = f"nearest: {', '.join(near)}" if near else f"for instance: {', '.join(known[:8])}"
        raise ValueError(f"no data set is called {config.name!r}; {hint}")
    _refuse_unused(config, kind)
    source = module.load(config)
    if source.kind == "points" and (config.flip or config.random_crop or config.image_size):
        raise ValueError("data.flip, data.random_crop and data.image_size are for pictures")
    return Dataset(config, source)


def _refuse_unused(config: DataConfig, kind: str) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        value = tuple(value) if isinstance(value, list) else value  # as JSON brings it back
        if field.name not in _FIELDS[kind] and value != field.default:
            raise ValueError(
                f"data.{field.name} = {value!r} has no meaning for {config.name}; leave it at "
                f"{field.default!r}"
            )
