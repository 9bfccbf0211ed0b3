"""A run's folder: whose it is, and whether it may be continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from diffax.training.choices import differences, from_json, to_json
from diffax.training.config import Config, may_change
from diffax.training.distributed import barrier, is_first
from diffax.training.keeping import manifest, reading
from diffax.training.recipe import Recipe


def check_workdir(text: str) -> Path:
    """The folder that a command line names.

    Raises:
        ValueError: no name, a file, or a place on another machine, which is not supported.
    """
    if not text.strip():
        raise ValueError("--workdir is empty (an unset variable?); give a folder")
    if "://" in text:
        raise ValueError(
            f"--workdir {text} is on another machine, which is not supported; mount it and give "
            "the folder"
        )
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise ValueError(f"--workdir {path} is a file; give a folder")
    return path


def previous_config(workdir: Path) -> Config | None:
    """The config that a folder's run was begun with, or None for a new run."""
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir {workdir} is a file; give a folder")
    path = workdir / "config.json"
    if path.is_file():
        try:
            return from_json(reading.read_object(path, {"config": dict})["config"])
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
    """Makes the folder this run's, and checks that one may write there."""
    if is_first():
        record = {"recipe": str(recipe.path), "config": to_json(config)}
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            text = json.dumps(record, indent=2) + "\n"
            manifest.write_durably(workdir / "config.json", text.encode())
        except OSError as error:
            raise ValueError(
                f"cannot write in --workdir {workdir}: {error.strerror}; give another folder"
            ) from error
    barrier("claim")
