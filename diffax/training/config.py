"""`Config`: everything a run is made of, as one record of nouns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from diffax.evaluation import Evaluation
from diffax.generation import Sampling
from diffax.training.ema import EMAConfig
from diffax.training.optimizer import Optimizer


@dataclass(frozen=True)
class TrainConfig:
    """How long, how much at once, and what is kept."""

    steps: int = 10_000
    """Optimizer steps of the whole run; a larger number continues a finished one."""
    batch_size: int = 128
    """Examples a step, over all devices and processes."""
    steps_per_call: int = 1
    """Steps in one compiled call, at most; calls end wherever something is logged or saved."""
    quick: bool = False
    """Compile in half the time into a slower program: for runs of seconds, on a CPU."""
    accumulate: int = 1
    """Parts into which a batch is cut, their gradients averaged before the update."""
    seed: int = 0
    """Of parameters, noise, dropout, data order and augmentations, 0 to 4294967295."""
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
    """Also keep the one with the best value of this metric, for instance loss."""
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
    writers: tuple[Any, ...] = ()
    """Where lines of metrics go besides: wandb (Weights & Biases), or your own; see
    `diffax.training.writers`."""
    init_from: str | None = None
    """Start from the weights of another run of the same network, or of a published one: its
    folder; None: drawn anew."""
    images: bool = True
    """At the end leave the loss curve, a grid of samples and, for small data, animations."""
    frames: int = 60
    """Frames of the animations, at most; >= 2."""
    strip_times: tuple[float, ...] = ()
    """Times at which q_sample.png shows the noising, as the schedule counts; none: 20 in a row."""

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
        if self.frames < 2:
            raise ValueError(f"train.frames must be >= 2, got {self.frames}")
        for name in ("sample_every", "keep_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} must be >= 0, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"train.seed must lie in 0 to 4294967295, got {self.seed}")
        if not (self.spike_factor >= 0 and math.isfinite(self.spike_factor)):
            raise ValueError(f"train.spike_factor must be >= 0 and finite, got {self.spike_factor}")
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

    Attributes:
        data: which data: a noun of `diffax.data`.
        objective: what is learned from them: a noun of `diffax.objectives`.

    Example:
        >>> from diffax.data import Toy
        >>> from diffax.models import VectorMLP
        >>> from diffax.objectives import Denoising
        >>> from diffax.training import Config, from_json, to_json
        >>> config = Config(Toy("moons"), Denoising(VectorMLP(features=64)))
        >>> from_json(to_json(config)) == config
        True
    """

    data: Any
    objective: Any
    optimizer: Optimizer = field(default_factory=Optimizer)
    ema: EMAConfig = field(default_factory=EMAConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: Sampling = field(default_factory=Sampling)
    evaluation: Evaluation = field(default_factory=Evaluation)


# What a run may change when it continues: how it is watched, kept, fed and spread, and how far it
# goes; nothing that decides what is learned.
_FREE = {
    "data.dir",
    "data.cache_mb",
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
    "train.writers",
    "train.images",
    "train.frames",
    "train.strip_times",
}
_FREE_SECTIONS = {"sample", "evaluation"}


def may_change(name: str) -> bool:
    """Whether a continued run may have another value of this field without being asked."""
    parts = name.split(".")
    return (
        not _FREE.isdisjoint((name, ".".join(parts[:2])))
        or parts[0] in _FREE_SECTIONS
        or parts[-1] == "remat"
    )
