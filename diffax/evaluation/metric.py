"""Metrics: a noun each, computed while training and by evaluate.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from diffax.data import Dataset
from diffax.evaluation.shares import samples_over_processes
from diffax.generation import Samples


@dataclass(frozen=True)
class Watched:
    """What a metric may look at.

    Attributes:
        model: the `Model` with the averaged parameters; None for objectives that make none, and
            for samples that were read from a file.
        data: the data noun, such as `Digits(split="train")`; None where there is none.
        dataset: what is trained on; None where there is none.
        loss: `(batch of columns, key) -> {name: float}`: the objective's loss and metrics, without
            dropout, with the averaged parameters; None where nothing was trained.
        options: of `generate`, for samples: steps, guidance, seed, ...
        given: samples that were read from a file.
        kept: what metrics computed of the samples, so that none computes it twice.
    """

    model: Any
    data: Any
    dataset: Dataset | None
    loss: Callable[[Any, Any], dict[str, float]] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Samples | None = None
    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    _drawn: list[Samples] = field(default_factory=list, repr=False, compare=False)

    def samples(self, num: int) -> Samples:
        """The first `num` samples, drawn once for all metrics; fewer where a file has fewer.

        Raises:
            ValueError: there is nothing to draw from, or a sample is not finite.
        """
        if self.given is None and self.model is None:
            raise ValueError("this metric judges samples, and this objective makes none")
        drawn = self.given or (self._drawn[-1] if self._drawn else None)
        if drawn is None or (len(drawn) < num and self.given is None):
            drawn = samples_over_processes(self.model, num, **self._request(num))
            self._drawn.append(drawn)
        data = np.asarray(drawn.data)[:num]
        finite = np.isfinite(data.reshape(len(data), -1)).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"{(~finite).sum():,} of {len(data):,} samples are not finite, the first is "
                f"number {int(np.argmin(finite))}: no figure of them would mean anything"
            )
        told = {name: np.asarray(rows)[:num] for name, rows in drawn.told.items()}
        return Samples(data, np.asarray(drawn.x)[:num], told, codec=drawn.codec)

    @property
    def count(self) -> int:
        """How many samples were looked at."""
        return max(map(len, self._drawn), default=0) if self.given is None else len(self.given)

    def asked(self, **options: Any) -> Watched:
        """The same with other options of `generate`, nothing drawn yet.

        Raises:
            ValueError: samples from a file, which are what they are.
        """
        if self.model is None:
            raise ValueError("samples can be drawn otherwise only where there is a model")
        return dataclasses.replace(self, options={**self.options, **options}, kept={}, _drawn=[])

    def saying(self, prompts: Sequence[str]) -> Watched:
        """The same with other prompts; samples from a file are said to show them."""
        if self.model is not None:
            return self.asked(prompt=tuple(prompts))
        return dataclasses.replace(self, options={**self.options, "prompt": tuple(prompts)})

    def _request(self, num: int) -> dict[str, Any]:
        options = dict(self.options)
        if "labels" in options:  # in turn over the samples
            return options | {"labels": _in_turn(options["labels"], num), "num": 1}
        texts = self.texts(num)
        if texts is not None:
            return options | {"prompt": texts, "num": 1}
        return options | {"num": num}

    def texts(self, num: int) -> list[str] | None:
        """What the first `num` samples are to show, in turn; None where nothing is said.

        The prompts asked for; else, of a model that reads texts, the captions of the data; of
        samples from a file, their own captions.
        """
        asked = self.options.get("prompt")
        if asked is not None:
            return _in_turn([asked] if isinstance(asked, str) else asked, num)
        if self.given is not None:
            said = self.given.told.get("caption")
            return None if said is None else [str(text) for text in said[:num]]
        if "prompt" not in getattr(self.model.conditioner, "asks", ()):
            return None
        dataset = (
            self.dataset if self.dataset is not None or self.data is None else self.data.load()
        )
        if dataset is None or "caption" not in dataset.spec.columns:
            return None
        captions = dataset.examples(np.arange(min(num, dataset.spec.size)))["caption"]
        said = [text for text in map(str, captions) if text.strip()]
        return _in_turn(said, num) if said else None

    def split(self, split: str) -> Dataset:
        """Another split of the data.

        Raises:
            ValueError: no data, or data without splits.
        """
        reference = self.reference(split)
        if not hasattr(reference, "split"):
            raise ValueError(
                f"held-out examples need data with splits; {type(self.data).__name__} has none"
            )
        return reference.load()

    def reference(self, split: str) -> Any:
        """The noun of the data that samples are compared with: a split where there are splits.

        Raises:
            ValueError: no data.
        """
        if self.data is None:
            raise ValueError("this metric compares with data: name them with --reference")
        has_splits = "split" in {f.name for f in dataclasses.fields(self.data)}
        return dataclasses.replace(self.data, split=split) if has_splits else self.data


def _in_turn(values: Any, num: int) -> list[str]:
    """`num` of them, from the first on, and again from the first where there are fewer."""
    return [str(value) for value in np.resize(np.asarray(values, dtype=object), num)]


class Curve(NamedTuple):
    """Something that a report draws: y over x."""

    x_label: str
    x: Any
    y: Any


@dataclass(frozen=True)
class Measured:
    """What a metric found, with what a report may show of it.

    Attributes:
        figures: by name.
        intervals: 95 % intervals of some of the figures.
        curves: by title.
        images: by title, uint8 `[H, W, C]`.
        notes: how the figures were obtained, and warnings; one line each.
    """

    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Metric(Protocol):
    """A figure of a run; a frozen dataclass, so that a recipe can hold it.

    A metric that has more to show than figures has a method `measure(watched) -> Measured`, too.

    Attributes:
        better: for every name that it gives, "lower" or "higher".
    """

    better: ClassVar[Mapping[str, str]]

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures, by name."""


def measure(metric: Any, watched: Watched) -> Measured:
    """All that a metric has to show."""
    if hasattr(metric, "measure"):
        return metric.measure(watched)
    return Measured(metric(watched))


@dataclass(frozen=True)
class Evaluation:
    """Which metrics are computed while training."""

    every: int = 0
    """Steps between evaluations; 0: none."""
    metrics: tuple[Any, ...] = ()
    """Which, such as `(HeldOutLoss(),)`; on the command line by their names."""

    def __post_init__(self) -> None:
        """Checks that both fit together."""
        if self.every < 0:
            raise ValueError(f"evaluation.every must be >= 0, got {self.every}")
        if self.every and not self.metrics:
            raise ValueError("evaluation.every needs evaluation.metrics: say which")

    @property
    def better(self) -> dict[str, str]:
        """ "lower" or "higher", by name, for all metrics."""
        return {name: way for metric in self.metrics for name, way in metric.better.items()}
