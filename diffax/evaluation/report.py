"""What was measured, as JSON, as a table, and as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffax import plotting
from diffax.evaluation import page
from diffax.evaluation.metric import Measured
from diffax.evaluation.page import short

_SHOWN = 64  # samples in the grid


@dataclass(frozen=True)
class Sweep:
    """Figures of samples over one setting.

    Attributes:
        name: of the setting, such as "steps".
        values: that it had.
        figures: by name, one record a value.
    """

    name: str
    values: Sequence[float]
    figures: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Report:
    """What was measured of one model or of one set of samples.

    Attributes:
        source: what was measured, for people.
        how: how its samples were made: sampler, steps, seed, ...
        measured: for every set of weights (an average, "none" for the weights themselves) what
            was found, by metric.
        better: for some figures, "lower" or "higher".
        summary: the figures that the run printed at its end, where it has any.
        rows: lines of its metrics.jsonl.
        sweeps: figures over sampling steps, over guidance.
        samples: to be shown, images `[N, H, W, C]` or vectors `[N, D]`.
    """

    source: str
    how: Mapping[str, Any]
    measured: Mapping[str, Mapping[str, Measured]]
    better: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, float]] = ()
    sweeps: Sequence[Sweep] = ()
    samples: np.ndarray | None = None

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Figures by name, for every set of weights."""
        return {
            weights: {n: v for one in found.values() for n, v in one.figures.items()}
            for weights, found in self.measured.items()
        }

    @property
    def notes(self) -> list[str]:
        """How figures were obtained, and warnings, each once."""
        lines = (n for found in self.measured.values() for m in found.values() for n in m.notes)
        return list(dict.fromkeys(lines))

    def to_json(self) -> dict[str, Any]:
        """Everything but the images, as plain data."""
        intervals = {
            weights: {n: list(v) for one in found.values() for n, v in one.intervals.items()}
            for weights, found in self.measured.items()
        }
        return {
            "source": self.source,
            "samples": dict(self.how),
            "figures": self.figures,
            "intervals_95": {weights: found for weights, found in intervals.items() if found},
            "notes": self.notes,
            "summary_of_the_run": {n: self.summary[n] for n in self._names() if n in self.summary},
            "sweeps": {s.name: [{"value": v, **f} for v, f in _pairs(s)] for s in self.sweeps},
        }

    def to_text(self) -> str:
        """A table of figures, with the notes below."""
        head, *body = self._table()
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, ["-" * width for width in widths], *body)
        ]
        for sweep in self.sweeps:
            for value, figures in _pairs(sweep):
                told = ", ".join(f"{name} {short(v)}" for name, v in figures.items())
                lines.append(f"{sweep.name} {value:g}: {told}")
        return "\n".join([self.source, *lines, *self._told()])

    def to_html(self) -> str:
        """One page with tables and plots; nothing in it is read from elsewhere."""
        head, *body = self._table()
        plots = ((title, "png", plotting.png(image)) for title, image in self._plots())
        parts = [page.rows(head, body), page.listed(self._told()), page.gallery(plots)]
        return page.html(f"Evaluation of {self.source}", parts)

    def _told(self) -> list[str]:
        how = ", ".join(f"{name} {value}" for name, value in self.how.items())
        return [*([f"samples: {how}"] if how else []), *self.notes]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for found in self.figures.values() for name in found))

    def _table(self) -> list[list[str]]:
        """Rows of texts, the head first."""
        known = [name for name in self._names() if name in self.summary]
        rows = [
            ["figure", *map(_weights, self.measured), *(["the run's summary"] if known else [])]
        ]
        for name in self._names():
            arrow = {"lower": " (lower is better)", "higher": " (higher is better)"}
            row = [name + arrow.get(self.better.get(name, ""), "")]
            for weights, found in self.measured.items():
                text = short(self.figures[weights].get(name))
                for one in found.values():
                    if name in one.intervals:
                        text += " [{}, {}]".format(*map(short, one.intervals[name]))
                row.append(text)
            rows.append(row + ([short(self.summary.get(name))] if known else []))
        return rows

    def _plots(self) -> Iterator[tuple[str, np.ndarray]]:
        """Images with their titles."""
        if self.samples is not None and self.samples.ndim == 4:
            yield "samples", plotting.image_grid(self.samples[:_SHOWN])
        elif self.samples is not None and self.samples.ndim == 2:
            yield f"{len(self.samples):,} samples", plotting.scatter(self.samples)
        first = next(iter(self.measured.values()), {})
        for found in first.values():
            yield from found.images.items()
        for title in dict.fromkeys(t for found in first.values() for t in found.curves):
            yield title, self._curve(title)
        for sweep in self.sweeps:
            for name in sweep.figures[0]:
                line = {name: (sweep.values, [figures[name] for figures in sweep.figures])}
                title = f"{name} against {sweep.name}"
                yield title, plotting.line_chart(line, x_label=sweep.name, markers=True)
        for name in ("loss", *self._names()):
            if any(name in row for row in self.rows):
                yield f"{name} against training step", plotting.loss_curve(self.rows, key=name)

    def _curve(self, title: str) -> np.ndarray:
        """One curve, of all sets of weights."""
        lines, label, positive = {}, "", True
        for weights, found in self.measured.items():
            for one in found.values():
                if title in one.curves:
                    label, x, y = one.curves[title]
                    lines[_weights(weights)] = (x, y)
                    positive = positive and bool(np.min(y) > 0)
        return plotting.line_chart(lines, x_label=label, log_y=positive)


def _weights(name: str) -> str:
    return "the weights themselves" if name == "none" else name


def _pairs(sweep: Sweep) -> Iterator[tuple[float, Mapping[str, float]]]:
    return zip(sweep.values, sweep.figures, strict=True)
