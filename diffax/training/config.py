"""`Config`: everything a run is made of, as one typed record with a JSON form."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn

from diffax import models
from diffax.data import DataConfig
from diffax.models import StepMLP, UNet, VectorMLP
from diffax.training.ema import EMAConfig
from diffax.training.generate import SampleConfig
from diffax.training.noise import LossConfig, ScheduleConfig
from diffax.training.optimizer import OptimizerConfig


@dataclass(frozen=True)
class TrainConfig:
    """How long, how much at once, and what is kept."""

    steps: int = 10_000
    """Optimizer steps of the whole run; a larger number continues a finished one."""
    batch_size: int = 128
    """Examples a step, over all devices and processes."""
    steps_per_call: int = 1
    """Steps in one compiled call, at most; calls end wherever something is logged or saved."""
    accumulate: int = 1
    """Parts into which a batch is cut, their gradients averaged before the update."""
    seed: int = 0
    """Of parameters, noise, dropout, data order and augmentations."""
    log_every: int = 50
    """Steps that one line of metrics averages over."""
    save_every: int = 1000
    """Steps between checkpoints."""
    sample_every: int = 1000
    """Steps between grids of samples; 0: none."""
    keep_last: int = 3
    """Newest checkpoints that are kept."""
    keep_every: int = 0
    """Also keep for good those whose step is a multiple of this; 0: none."""
    keep_best: str | None = None
    """Also keep the one with the lowest value of this metric, for instance loss."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """On a loss or gradient that is not finite: stop, or leave that update out and count it."""
    spike_factor: float = 5.0
    """Warn where the loss exceeds this many times the median of the lines before; 0: never."""
    fsdp: int = 1
    """Devices that share one copy of parameters, optimizer and averages; -1: all; 1: each has its
    own."""
    workers: int | None = None
    """Threads that prepare batches; None: one a CPU core, at most 8."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    pictures: bool = True
    """At the end leave the loss curve, a grid of samples and, for small data, animations."""

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in (
            "steps",
            "batch_size",
            "steps_per_call",
            "accumulate",
            "log_every",
            "save_every",
            "keep_last",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} must be >= 1, got {getattr(self, name)}")
        for name in ("sample_every", "keep_every", "seed", "spike_factor"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} must be >= 0, got {getattr(self, name)}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.batch_size {self.batch_size} cannot be cut into train.accumulate = "
                f"{self.accumulate} equal parts"
            )
        if self.fsdp < 1 and self.fsdp != -1:
            raise ValueError(f"train.fsdp must be >= 1, or -1 for all devices, got {self.fsdp}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"train.workers must be >= 1 or None, got {self.workers}")


@dataclass(frozen=True)
class Config:
    """A run. Recipes in configs/ return one; the command line overrides any field of it.

    `model` is the Flax module itself; its number of classes is taken from the data.

    Example:
        >>> from diffax.data import DataConfig
        >>> from diffax.models import VectorMLP
        >>> from diffax.training import Config, from_json, to_json
        >>> config = Config(data=DataConfig(name="moons"), model=VectorMLP(features=64))
        >>> from_json(to_json(config)) == config
        True
    """

    data: DataConfig
    model: UNet | VectorMLP | StepMLP | nn.Module
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: EMAConfig = field(default_factory=EMAConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)


SECTIONS = {
    "data": DataConfig,
    "schedule": ScheduleConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "ema": EMAConfig,
    "train": TrainConfig,
    "sample": SampleConfig,
}

# What a run may change when it continues: how it is watched, kept, fed and spread, and how far it
# goes; nothing that decides what is learned.
FREE = {
    "data.dir",
    "data.cache_mb",
    "model.remat",
    "train.steps",
    "train.steps_per_call",
    "train.log_every",
    "train.save_every",
    "train.sample_every",
    "train.keep_last",
    "train.keep_every",
    "train.keep_best",
    "train.nonfinite",
    "train.spike_factor",
    "train.fsdp",
    "train.workers",
    "train.tensorboard",
    "train.pictures",
}
_FREE_SECTIONS = {"sample"}


def flatten(config: Config) -> dict[str, Any]:
    """All fields by their dotted names, in order."""
    flat = {}
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        for f in dataclasses.fields(part):
            if not _is_internal(part, f):
                flat[f"{section.name}.{f.name}"] = getattr(part, f.name)
    return flat


def field_types(config: Config) -> dict[str, Any]:
    """The type of every field, by dotted name."""
    found = {}
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        hints = typing.get_type_hints(type(part))
        for f in dataclasses.fields(part):
            if not _is_internal(part, f):
                found[f"{section.name}.{f.name}"] = hints[f.name]
    return found


def replaced(part: Any, fields: dict[str, Any]) -> Any:
    """A section with other values in some of its fields, checked anew."""
    if isinstance(part, nn.Module):
        return part.clone(**fields)
    return dataclasses.replace(part, **fields)


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (old value, new value) of every field that is not the same."""
    before, after = flatten(old), flatten(new)
    changed = {
        name: (before.get(name), after.get(name))
        for name in [*before, *(n for n in after if n not in before)]
        if before.get(name) != after.get(name)
    }
    if type(old.model) is not type(new.model):
        changed["model"] = (type(old.model).__name__, type(new.model).__name__)
    return changed


def may_change(name: str) -> bool:
    """Whether a continued run may have another value of this field without being asked."""
    return name in FREE or name.split(".")[0] in _FREE_SECTIONS


def to_json(config: Config) -> dict[str, Any]:
    """The config as plain data, for `json.dumps`; back with `from_json`."""
    out = {}
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        values = {
            f.name: getattr(part, f.name)
            for f in dataclasses.fields(part)
            if not _is_internal(part, f)
        }
        if section.name == "model":
            values = {"class": _class_name(type(part)), **values}
        out[section.name] = values
    return json.loads(json.dumps(out))  # tuples become lists, and what is not plain is refused


def from_json(data: dict[str, Any]) -> Config:
    """The config that `to_json` wrote.

    Raises:
        ValueError: a section or field that this version does not know.
    """
    unknown = [name for name in data if name not in (*SECTIONS, "model")]
    if unknown or "data" not in data or "model" not in data:
        raise ValueError(
            f"not a config of this version: expected sections {', '.join(SECTIONS)} and model, "
            f"got {', '.join(data)}"
        )
    model = dict(data["model"])
    sections = {
        name: _build(kind, name, data[name]) for name, kind in SECTIONS.items() if name in data
    }
    return Config(model=_build(_class_called(model.pop("class")), "model", model), **sections)


def nearest(name: str, known: list[str]) -> str:
    """A half-sentence that offers what was probably meant."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"there are: {', '.join(known[:12])}" + (", ..." if len(known) > 12 else "")


def type_name(kind: Any) -> str:
    """A type as a user would say it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is ...:
            return f"any number of values, each {type_name(arguments[0])}"
        return f"{len(arguments)} values, each {type_name(arguments[0])}"
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "True or False",
        type(None): "None",
    }
    return names.get(kind, str(kind))


def _is_internal(part: Any, f: dataclasses.Field) -> bool:
    return isinstance(part, nn.Module) and f.name in ("parent", "name")


def _build(kind: type, section: str, values: dict[str, Any]) -> Any:
    known = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(f"config has no field {section}.{name}; {nearest(name, known)}")
    return kind(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _class_name(kind: type) -> str:
    if getattr(models, kind.__name__, None) is kind:
        return kind.__name__
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_called(name: str) -> type:
    if ":" not in name:
        kind = getattr(models, name, None)
        if kind is None:
            raise ValueError(f"config names a model {name!r} that diffax.models does not have")
        return kind
    module, _, kind = name.partition(":")
    try:
        return getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"config names the model {name}, which cannot be imported ({error}); load the recipe "
            "that defines it first, or put its folder on PYTHONPATH"
        ) from error
