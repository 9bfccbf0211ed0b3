"""A run's folder: whose it is, and whether it may be continued."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffax import atomic
from diffax.training.choices import from_json, to_json
from diffax.training.config import Config, may_change
from diffax.training.distributed import by_first
from diffax.training.dotted import differences
from diffax.training.keeping import reading
from diffax.training.recipe import Recipe


def check_workdir(text: str | Path) -> Path:
    """The path of a run's folder, as given on the command line; nothing is made.

    Raises:
        ValueError: it is empty, an address, or leads to or through a file.

    Example:
        >>> check_workdir("gs:/bucket/run")
        Traceback (most recent call last):
        ValueError: --workdir gs:/bucket/run is no folder; expected one, or gs://BUCKET/RUN
    """
    text = str(text)
    if not text.strip() or "\0" in text:
        raise ValueError(f"--workdir is {text!r}; give a folder (is a shell variable not set?)")
    scheme, found, _ = text.partition(":/")
    if found and scheme.replace("+", "").isalnum():  # a Path has one slash where there were two
        raise ValueError(f"--workdir {text} is no folder; expected one, or {scheme}://BUCKET/RUN")
    workdir = Path(text)
    for path in (workdir, *workdir.parents):
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # a name too long, a folder one may not look into
            raise ValueError(f"--workdir {text}: {error.strerror}; give another folder") from None
        if not is_folder:
            raise ValueError(f"--workdir {text}: {path} is a file; give a folder")
        break
    return workdir


def previous_config(workdir: Path) -> Config | None:
    """The config that a folder's run was begun with, or None for a new run.

    Raises:
        ValueError: the folder is a file, holds something else than a run, or its config.json is
            damaged.
    """
    check_workdir(workdir)
    path = workdir / "config.json"
    if path.exists():
        try:
            return from_json(reading.read_object(path, {"recipe": str, "config": dict})["config"])
        except ValueError as error:
            raise ValueError(
                f"{path} is not a run's config ({error}); use another --workdir"
            ) from error
    taken = [name for name in ("checkpoints", "metrics.jsonl") if (workdir / name).exists()]
    if taken:
        raise ValueError(
            f"{workdir} holds {taken[0]} but no config.json: it is no run's folder; "
            "use another --workdir"
        )
    return None


def check_change(
    old: Config, new: Config, workdir: Path, *, allow: bool, say: Callable[[str], None]
) -> None:
    """Refuses to continue a run with a config that would learn something else.

    Args:
        old: what the run was begun with.
        new: what it shall continue with.
        workdir: the run's folder.
        allow: do not refuse.
        say: told of every change that is accepted.

    Raises:
        ValueError: lists the changes.
    """
    changed = differences(old, new)
    lines = [f"{name}: {before} -> {after}" for name, (before, after) in changed.items()]
    refused = [line for line, name in zip(lines, changed, strict=True) if not may_change(name)]
    if refused and not allow:
        raise ValueError(
            f"{workdir} holds a run with another config: {'; '.join(refused)}; use another "
            "--workdir, or --allow-config-change to continue it all the same"
        )
    for line in lines:
        say(f"changed since the run began: {line}")


def claim(workdir: Path, recipe: Recipe, config: Config) -> None:
    """Makes the folder this run's, and checks that one may write there; process 0 for all.

    Raises:
        ValueError: one may not; in every process.
    """

    def write() -> int:
        record = {"recipe": str(recipe.path), "config": to_json(config)}
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            text = json.dumps(record, indent=2) + "\n"
            atomic.write(workdir / "config.json", text.encode(), durable=True)
        except OSError as error:
            raise ValueError(
                f"cannot write in --workdir {workdir}: {error.strerror or error}; "
                "give another folder"
            ) from error
        return 0

    by_first(write)


def read_summary(workdir: Path) -> dict[str, Any] | None:
    """The summary that a finished run left behind; None where there is none.

    Raises:
        ValueError: summary.json is damaged.
    """
    path = workdir / "summary.json"
    if not path.exists():
        return None
    return reading.read_object(path, {"step": int}, {"complete": bool})
