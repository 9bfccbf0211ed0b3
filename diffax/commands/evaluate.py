"""`diffax evaluate`, and evaluate.py: figures of a run, a published model or samples in a file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffax import atomic, plotting
from diffax.codecs import is_written
from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.commands.flags import (
    add_asked,
    add_model,
    add_processes,
    add_published,
    add_run,
    add_sampler,
    adder,
    cluster_of,
    grouped,
    positive,
)
from diffax.commands.program import program
from diffax.commands.subject import are_statistics, subject_of
from diffax.evaluation import BY_NAME, FEATURES, Evaluation, Measured, Watched, measure
from diffax.evaluation.report import Report, Sweep
from diffax.nearest import nearest
from diffax.solvers import registry
from diffax.training import choices, distributed
from diffax.training.config import Config
from diffax.training.overrides import override

_SWEPT = {"steps": int, "guidance": float}
_SHOWN = 64  # images in the report
_CLOUD = 2000  # vectors in the report


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs evaluate.py.

    Args:
        arguments: of the command line; None: the process's own.

    Returns:
        The exit status: 0 done; 2 bad input, with one line on stderr.
    """
    return one_line_errors(lambda: _evaluate(*_parser().parse_known_args(arguments)))


def _evaluate(flags: argparse.Namespace, rest: Sequence[str]) -> int:
    _check(flags)
    sweeps = [_sweep(text) for text in flags.sweep or ()]
    fields = grouped(rest)
    distributed.initialize(cluster_of(flags))
    if flags.metrics is not None:
        _metrics(flags, fields, flags.metrics)  # refused before anything is opened
    subject = subject_of(flags)
    looked_at = [] if flags.features is None else ["frechet"]
    names = flags.metrics or [*subject.usual_metrics(), *looked_at]
    metrics = _metrics(flags, fields, names, subject.recipe)
    out = Path(flags.out or subject.folder)
    plotting.check_output(out / "evaluation.png", images=None)
    measured: dict[str, dict[str, Measured]] = {}
    for weights, watched in subject.watched.items():
        measured[weights] = {}
        for name, metric in metrics.items():
            if not flags.quiet and distributed.is_first():
                print(f"{subject.name}, {weights}: {name} ...", file=sys.stderr)
            measured[weights][name] = measure(metric, watched)
    first = next(iter(subject.watched.values()))
    report = Report(
        source=subject.name,
        how=subject.how(flags, first),
        measured=measured,
        better={n: way for metric in metrics.values() for n, way in metric.better.items()},
        summary=subject.summary,
        rows=subject.rows,
        sweeps=[_swept(first, metrics, name, values) for name, values in sweeps],
        samples=_shown(first),
    )
    if distributed.is_first():
        _write(out, report)
        print(report.to_text())
        print(f"wrote {out / 'evaluation.json'} and {out / 'evaluation.html'}")
    return 0


def _metrics(
    flags: argparse.Namespace,
    fields: Mapping[str, list[str]],
    names: Sequence[str],
    recipe: tuple[Any, ...] = (),
) -> dict[str, Any]:
    """The metrics of these names, with `--NAME.FIELD VALUE` and what is said for all of them.

    Those that the run's recipe has keep its numbers.
    """
    kinds = BY_NAME | {choices.choice_name("metrics", metric): type(metric) for metric in recipe}
    listed = [name for text in names for name in text.split(",") if name]
    items = choices.item_names(listed)
    given: dict[str, list[str]] = {"evaluation.metrics": listed}
    for item, name in zip(items, listed, strict=True):
        kind = kinds.get(name)
        known = {f.name for f in dataclasses.fields(kind)} if kind is not None else set()
        if "samples" in known and flags.num is not None:
            given[f"evaluation.metrics.{item}.samples"] = [str(flags.num)]
        if "statistics" in known and are_statistics(flags.reference):
            given[f"evaluation.metrics.{item}.statistics"] = [flags.reference]
        if "features" in known and flags.features is not None:
            given[f"evaluation.metrics.{item}.features"] = [flags.features]
        if "features" in known:
            for field, words in fields.items():
                if field.startswith("features."):
                    given[f"evaluation.metrics.{item}.{field}"] = words
    for field, words in fields.items():
        first = field.partition(".")[0]
        if first in items:
            given[f"evaluation.metrics.{field}"] = words
        elif first != "features":
            flags_known = [a.option_strings[0][2:] for a in _parser()._actions if a.option_strings]
            raise UsageError(f"unknown option --{field}; {nearest(field, [*flags_known, *items])}")
    config = override(Config(None, None, evaluation=Evaluation(metrics=recipe)), given)
    return dict(zip(items, config.evaluation.metrics, strict=True))


def _swept(
    watched: Watched, metrics: Mapping[str, Any], name: str, values: Sequence[float]
) -> Sweep:
    """The figures of samples at every value of a setting."""
    judging = [metric for metric in metrics.values() if hasattr(metric, "samples")]
    if not judging:
        raise UsageError(f"--sweep {name} needs a metric of samples, such as frechet")
    figures = []
    for value in values:
        asked = watched.asked(**{name: value})
        figures.append({n: v for m in judging for n, v in measure(m, asked).figures.items()})
    return Sweep(name, values, figures)


def _shown(watched: Watched) -> np.ndarray | None:
    """Samples for the eye; images in 8 bits."""
    if watched.model is None and watched.given is None:
        return None
    model = watched.model
    cloud = model is not None and len(model.shape) == 1 and not is_written(model.codec)
    samples = watched.samples(_CLOUD if cloud else _SHOWN)
    if is_written(samples.codec):
        image = plotting.drawn(np.asarray(samples.data), samples.codec)
        return None if image is None else image[None]
    return samples.images if np.ndim(samples.data) == 4 else np.asarray(samples.data)


def _write(out: Path, report: Report) -> None:
    plain = json.dumps(report.to_json(), indent=2, default=str) + "\n"
    atomic.write(out / "evaluation.json", plain.encode())
    atomic.write(out / "evaluation.html", report.to_html().encode())


def _check(flags: argparse.Namespace) -> None:
    """Refuses what cannot be meant, before anything is loaded."""
    named = [n for n in ("workdir", "pretrained", "samples") if getattr(flags, n) is not None]
    if len(named) != 1:
        got = " and ".join(f"--{name}" for name in named) or "neither"
        raise UsageError(
            "expected one of --workdir DIR (a run of train.py), --pretrained PATH (a published "
            f"model) and --samples PATH (.npz or a folder of images), got {got}"
        )
    if flags.features is not None and flags.features not in FEATURES:
        raise UsageError(
            f"--features: no network is called {flags.features!r}; "
            f"{nearest(flags.features, FEATURES)}"
        )
    if flags.sampler is not None:
        registry.resolved(flags.sampler)


def _sweep(text: str) -> tuple[str, list[float]]:
    """`steps=5,10,20`."""
    name, _, listed = text.partition("=")
    try:
        return name, [_SWEPT[name](value) for value in listed.split(",")]
    except (KeyError, ValueError):
        raise UsageError(
            f"--sweep should be steps=5,10,20 or guidance=1,2,4, got {text!r}"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("evaluate"),
        description="Measures a run of train.py, a published model, or samples in a file, and "
        "leaves evaluation.json and evaluation.html.",
        epilog=f"metrics: {', '.join(BY_NAME)}; their fields: --NAME.FIELD VALUE, as in "
        f"--flow.num 500. Feature networks: {', '.join(FEATURES)}; their fields: "
        "--features.path F.",
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add_model(parser)
    add = adder(parser)
    add("--samples", metavar="PATH", help=".npz or .npy (arr_0), or a folder of images")
    add("--metrics", nargs="+", metavar="NAME", help="which (default: all that are meaningful)")
    add("--num", type=positive, metavar="N", help="samples that metrics judge")
    add("--reference", metavar="DATA", help="what samples are compared with: a data set's name, "
        "arrays, a folder of images, statistics (default: the run's own data)")  # fmt: skip
    add("--features", metavar="NAME", help="network that samples are looked at with")
    parser.add_argument(
        "--sweep",
        action="append",
        metavar="NAME=V,V,...",
        help="figures of samples over steps=5,10,20 or guidance=1,2,4, too",
    )
    add("--out", metavar="DIR", help="folder of the report (default: DIR/evaluation of the run)")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the table")
    add_asked(parser)
    add("--batch-size", type=positive, metavar="B", help="samples drawn at once, at most")
    add_sampler(parser)
    add_run(parser)
    add_published(parser)
    add_processes(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
