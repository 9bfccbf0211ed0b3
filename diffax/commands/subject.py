"""What evaluate.py measures: a run with both sets of weights, a published model, or samples."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffax import data
from diffax.commands.errors import UsageError
from diffax.commands.flags import solver_options
from diffax.commands.opening import opened, refuse_run_flags
from diffax.data import ArrayFile, Digits, ImageFolder
from diffax.evaluation import Watched, is_statistics
from diffax.generation import Samples
from diffax.nearest import nearest
from diffax.schedules import Discrete
from diffax.solvers import choice
from diffax.training.choices import choice_name


@dataclass(frozen=True)
class Subject:
    """Something to be measured.

    Attributes:
        name: for people.
        watched: what metrics see of it, for every set of weights.
        folder: where its report goes where nothing else is said.
        rows: lines of its metrics.jsonl.
        summary: the figures that it printed at its end.
        recipe: the metrics of its recipe.
    """

    name: str
    watched: Mapping[str, Watched]
    folder: Path
    rows: Sequence[Mapping[str, float]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    recipe: tuple[Any, ...] = ()

    def usual_metrics(self) -> list[str]:
        """The recipe's metrics, and those that mean something here and need no further file."""
        watched = next(iter(self.watched.values()))
        model = watched.model
        has_splits = watched.data is not None and hasattr(watched.data, "split")
        names = [choice_name("metrics", metric) for metric in self.recipe]
        if has_splits and watched.loss is not None:
            names.append("held_out_loss")
        if has_splits and model is not None and hasattr(model.codec, "log_stretch"):
            names += ["bound"] if isinstance(model.schedule, Discrete) else []
            names.append("flow")
        spec = None if watched.data is None else watched.data.load().spec
        if has_splits and getattr(getattr(model, "parameterization", None), "discrete", False):
            names.append("token_bits")
        if spec is not None and len(spec.shape) == 1 and not spec.alphabet:
            names.append("sliced_wasserstein")
        if spec is not None and spec.is_image:
            names.append("copies")
        if isinstance(watched.data, Digits):
            names.append("digit_quality")
        if not names:
            raise UsageError("nothing can be measured without more words: say --metrics NAME ...")
        return list(dict.fromkeys(names))

    def how(self, flags: argparse.Namespace, watched: Watched) -> dict[str, Any]:
        """How its samples were made, in words."""
        if watched.given is not None:
            return {"number": len(watched.given), "file": flags.samples}
        settings = getattr(watched.model, "settings", None)
        if settings is None or not watched.count:
            return {}
        options = watched.options
        if hasattr(settings, "solver"):
            named = choice.name_of(settings.solver)
        else:  # a published model's own, by the reference's name
            named = json.loads(settings.scheduler).get("_class_name", "its own")
        return {
            "number": watched.count,
            "sampler": options.get("sampler", named),
            "steps": options.get("steps", settings.steps),
            "guidance": options.get("guidance", settings.guidance),
            "seed": options.get("seed", settings.seed),
        }


def subject_of(flags: argparse.Namespace) -> Subject:
    """What the flags name.

    Raises:
        UsageError: a flag that has no meaning for it.
        ValueError, FileNotFoundError: it cannot be opened.
    """
    asked = flags.reference is not None and not are_statistics(flags.reference)
    reference = reference_of(flags.reference) if asked else None
    if flags.workdir is not None:
        return _run(flags, reference)
    if flags.pretrained is not None:
        source = opened(flags)
        options = _options(flags, source.model, reference)
        watched = Watched(source.model, reference, None, None, options)
        return Subject(source.name, {"published": watched}, Path("evaluation"))
    refuse_run_flags(flags)
    arrays = _files(flags.samples).load().arrays()
    told = {name: arrays[name] for name in ("label", "caption") if name in arrays}
    given = Samples(arrays["x"], arrays["x"], told)
    return Subject(
        str(flags.samples),
        {"samples": Watched(None, reference, None, None, given=given)},
        Path("evaluation"),
    )


def are_statistics(text: str | None) -> bool:
    """Whether `--reference` is a file of statistics, mu and sigma, instead of data."""
    return text is not None and Path(text).is_file() and is_statistics(text)


def reference_of(text: str) -> Any:
    """The data noun that `--reference` means: arrays, a folder of images, or a name.

    Raises:
        UsageError: neither a file nor a name.
    """
    if Path(text).exists():
        return _files(text)
    named = {n: k for n, k in data.BY_NAME.items() if not _needed(k)}
    if text not in named:
        raise UsageError(
            f"--reference {text}: there is no such file, and no data set is called so; "
            f"{nearest(text, named)}"
        )
    return named[text]()


def _needed(kind: Any) -> list[str]:
    """Fields of a data noun that must be given."""
    found = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    return found + [f.name for f in dataclasses.fields(kind) if f.name == "dir" and not found]


def _files(path: str) -> Any:
    """The data noun of arrays or a folder of images, with captions where there are any."""
    noun = ImageFolder(dir=path) if Path(path).is_dir() else ArrayFile(dir=path)
    captioned = dataclasses.replace(noun, captions=True)
    try:
        captioned.load()
    except ValueError:  # what else is wrong with them is said where they are loaded
        return noun
    return captioned


def _run(flags: argparse.Namespace, reference: Any) -> Subject:
    """A run, with the first of its averages and with the weights themselves."""
    from diffax.training.keeping.journal import read_rows
    from diffax.training.keeping.workdir import read_summary
    from diffax.training.run import open_run, run_folder
    from diffax.training.watch import make_evaluate, watched

    workdir = run_folder(flags.workdir, flags.checkpoint)
    here = workdir == Path(flags.workdir)  # what was fetched is not kept
    run = open_run(workdir, step=flags.checkpoint, trust=flags.trust)
    runs = {run.average: run}
    if run.average != "none":
        runs["none"] = open_run(workdir, "none", run.step, trust=flags.trust)
    evaluate = make_evaluate(run)
    data = run.config.data if reference is None else reference
    options = {} if run.model is None else _options(flags, run.model, data)
    views = {}
    for name, one in runs.items():
        # All models of the same network object, so that they share what is compiled.
        model = run.objective.model(one.trainable, one.frozen, run.config.sample)
        views[name] = watched(run, evaluate, one.trainable, one.frozen, model, options)
    if reference is not None:
        views = {n: dataclasses.replace(view, data=reference) for n, view in views.items()}
    rows, _ = read_rows(workdir / "metrics.jsonl")
    summary = read_summary(workdir) or {}
    if summary.get("step") != run.step:
        summary = {}  # of other weights
    return Subject(
        f"{flags.workdir} (step {run.step:,})", views,
        workdir / "evaluation" if here else Path("evaluation"),
        [row for row in rows if row["step"] <= run.step], summary, run.config.evaluation.metrics,
    )  # fmt: skip


def _options(flags: argparse.Namespace, model: Any, data: Any) -> dict[str, Any]:
    """What the flags say of samples, as `generate` takes it; data's captions are prompts, too."""
    said = {
        name: getattr(flags, name)
        for name in (
            "prompt", "negative", "guidance", "guidance_rescale", "sampler", "steps", "spacing",
            "karras", "seed", "batch_size", "tile", "clip_skip",
        )
        if getattr(flags, name) not in (None, False)
    }  # fmt: skip
    captioned = getattr(data, "captions", False)
    if "prompt" in model.conditioner.asks and flags.prompt is None and not captioned:
        raise UsageError(
            "--prompt TEXT is missing: what the samples should show; or name data with captions "
            "as --reference"
        )
    labels = {} if flags.label is None else {"labels": flags.label}
    return said | labels | solver_options(flags)
