"""The names of a run's files, relative to its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from diffax.training.keeping import lock, manifest

CONFIG = "config.json"  # without it a folder is no run's
CHECKPOINTS = "checkpoints"

_OWN = (lock.NAME, "error.log")  # of one machine alone


def checkpoint_name(step: int) -> str:
    """The folder of a step's checkpoint.

    Example:
        >>> checkpoint_name(500)
        'checkpoints/00000500'
    """
    return f"{CHECKPOINTS}/{step:08d}"


def checkpoint_of(name: str) -> str:
    """The folder of the checkpoint that a file belongs to."""
    return "/".join(name.split("/")[:2])


def is_checkpoint(name: str) -> bool:
    """Whether a file belongs to a checkpoint."""
    return name.startswith(f"{CHECKPOINTS}/")


def is_manifest(name: str) -> bool:
    """Whether a file says that a checkpoint is whole."""
    return re.fullmatch(rf"{CHECKPOINTS}/[0-9]+/{manifest.NAME}", name) is not None


def finished_steps(names: Iterable[str]) -> list[int]:
    """Steps of the checkpoints that were written to their end, in order."""
    return sorted(int(name.split("/")[1]) for name in names if is_manifest(name))


def whole_last(name: str) -> tuple[bool, bool, str]:
    """Sorts files so that what is cut off while they are copied never looks whole."""
    return name == CONFIG, is_manifest(name), name


def copied(names: Iterable[str]) -> set[str]:
    """What a copy has of a folder: nothing unfinished, nothing of one machine alone."""
    names = set(names)
    return {
        name
        for name in names
        if name not in _OWN
        and not PurePosixPath(name).name.endswith(".part")
        and (not is_checkpoint(name) or f"{checkpoint_of(name)}/{manifest.NAME}" in names)
    }
