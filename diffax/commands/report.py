"""The command line of report: a run's folder as one page that needs no other file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffax import atomic, plotting
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.evaluation import page
from diffax.training.keeping.bucket import is_address
from diffax.training.keeping.journal import read_rows
from diffax.training.keeping.layout import CONFIG
from diffax.training.keeping.remote import pictured
from diffax.training.keeping.workdir import check_workdir, read_summary

# What a run leaves, in the order in which it is looked at.
_IMAGES = {
    "samples.png": "Samples",
    "reverse.png": "The denoising, from noise to samples",
    "q_sample.png": "The noising of data, q(x_t)",
    "reconstructions.png": "Data and their reconstructions",
    "reverse.gif": "The denoising, animated",
    "forward.gif": "The noising, animated",
}
_SHOWN = 6  # grids made while training, evenly chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs report.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 done; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _report(_parser().parse_args(arguments)))


def _report(flags: argparse.Namespace) -> int:
    there = is_address(flags.workdir)
    workdir = pictured(flags.workdir) if there else check_workdir(flags.workdir)
    if not (workdir / CONFIG).is_file():
        raise UsageError(f"{workdir} holds no run: expected {CONFIG}, which train.py leaves")
    out = (Path() if there else workdir) / "report.html" if flags.out is None else Path(flags.out)
    atomic.write(out, to_html(workdir, flags.workdir).encode())
    print(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MiB)")
    return 0


def to_html(workdir: Path, name: str) -> str:
    """The page: figures, curves, grids, animations and the resolved recipe of a run's folder.

    Args:
        workdir: the folder.
        name: of the run.
    """
    rows, _ = read_rows(workdir / "metrics.jsonl")
    summary = read_summary(workdir) or {}
    figures = [(name, value) for name, value in summary.items() if name != "complete"]
    sections = [page.table("Summary", figures)] if figures else []
    if rows and not figures:  # it is still in training
        step = rows[-1].get("step", "?")
        sections.append(page.table(f"Newest line of metrics.jsonl, step {step}", rows[-1].items()))
    evaluation = _read(workdir / "evaluation" / "evaluation.json")
    for weights, found in evaluation.get("figures", {}).items():
        name = "the weights themselves" if weights == "none" else weights
        sections.append(page.table(f"Evaluation: {name}", found.items()))
    sections += [page.listed(evaluation.get("notes", ()))] if evaluation else []
    curve = [("Loss against training step", "png", plotting.png(plotting.loss_curve(rows)))]
    sections.append(page.gallery([*(curve if rows else ()), *_images(workdir)]))
    config = json.dumps(_read(workdir / "config.json"), indent=2)
    sections.append(page.folded("Resolved recipe (config.json)", config))
    return page.html(f"Run {name}", sections)


def _images(workdir: Path) -> Iterator[tuple[str, str, bytes]]:
    """Captions with the files' types and bytes."""
    grids = sorted((workdir / "samples").glob("*.png"))
    chosen = {round(i * (len(grids) - 1) / max(1, _SHOWN - 1)) for i in range(_SHOWN)}
    found = [(workdir / name, caption) for name, caption in _IMAGES.items()]
    found += [
        (grid, f"Samples after {int(grid.stem):,} steps")
        for i, grid in enumerate(grids)
        if i in chosen and grid.stem.isdigit()
    ]
    for path, caption in found:
        if path.is_file():
            yield caption, path.suffix[1:], path.read_bytes()


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's object; nothing where it is not there.

    Raises:
        UsageError: it is something else.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} should hold a JSON object, got {type(found).__name__}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="report",
        description="Writes a run as one HTML page: curves, samples, animations, figures of the "
        "summary and of evaluate.py, and the resolved recipe. The page needs no other file.",
        allow_abbrev=False,
    )
    parser.error = raise_usage
    parser.add_argument("workdir", metavar="RUN", help="the folder of a run of train.py")
    where = "RUN/report.html; where RUN is an address, report.html"
    parser.add_argument("--out", metavar="F", help=f"the page (default: {where})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
