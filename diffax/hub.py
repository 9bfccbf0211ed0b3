"""Files of the Hugging Face hub by name: `org/name[@revision][/inside]`, perhaps after `hf:`.

They are fetched once into the hub's own cache (`HF_HOME`); with `HF_HUB_OFFLINE=1` nothing is asked
for and the cache alone answers. Tokens and mirrors are set as for `huggingface_hub`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

_PREFIX = "hf:"
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([\w.-]+))?(?:/(.+))?")


class Name(NamedTuple):
    """A place on the hub.

    Attributes:
        repo: `org/name`.
        revision: a branch, tag or commit; None: the newest of the main branch.
        inside: path of a folder or file in it; "" is all of it.
    """

    repo: str
    revision: str | None
    inside: str

    def __str__(self) -> str:
        """As people write it."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}{'/' if self.inside else ''}{self.inside}"


def name_of(path: str | Path) -> Name | None:
    """The place on the hub that a path means; None where it is one of this machine.

    What is there, or lies in a folder that is there, is of this machine, unless `hf:` says
    otherwise.

    Raises:
        ValueError: `hf:` before something that is no name.

    Example:
        >>> name_of("hf:org/name@v1/unet")
        Name(repo='org/name', revision='v1', inside='unet')
        >>> name_of("./org/name") is None
        True
    """
    text = str(path)
    said = text.startswith(_PREFIX)
    found = _NAME.fullmatch(text.removeprefix(_PREFIX))
    if found is None:
        if said:
            raise ValueError(f"expected hf:ORG/NAME[@REVISION][/INSIDE], got {text!r}")
        return None
    if not said and (Path(text).exists() or Path(text).parts[0] in _folders()):
        return None
    return Name(found[1], found[2], found[3] or "")


def _folders() -> set[str]:
    return {path.name for path in Path().iterdir() if path.is_dir()}


def located(
    path: str | Path,
    files: Sequence[str],
    *,
    kind: Literal["model", "dataset"] = "model",
    bare: bool = True,
) -> Path:
    """Where the files of a path lie on this machine, fetched from the hub where it names them.

    Args:
        path: a folder or file of this machine, which need not be there; or a place on the hub.
        files: patterns of the files that are needed, within the place; of a place with an ending,
            a file, it alone is fetched.
        kind: of the hub's repository.
        bare: whether a name without `hf:` is one, too.

    Returns:
        The path itself, or that of the fetched folder or file.

    Raises:
        FileNotFoundError: the hub does not have it, cannot be reached, or wants to know who asks;
            one line.
    """
    name = name_of(path) if bare or str(path).startswith(_PREFIX) else None
    if name is None:
        return Path(path)
    alone = bool(Path(name.inside).suffix)
    prefix = f"{name.inside}/" if name.inside else ""
    patterns = [name.inside] if alone else [prefix + pattern for pattern in files]
    place = _snapshot(name, patterns, kind) / name.inside
    if not place.exists():
        raise FileNotFoundError(f"{name}: the hub's {name.repo} has no {name.inside}")
    return place


def _snapshot(name: Name, patterns: list[str], kind: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise FileNotFoundError(
            f"{name} is not on this machine; if the hub's is meant: pip install 'diffax[hub]'"
        ) from None
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name.repo}"
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name.repo, repo_type=kind, revision=name.revision, allow_patterns=patterns
            )
        )
    except errors.GatedRepoError:
        why = f"its owner wants to be asked: accept the terms at {page}, then `hf auth login`"
    except errors.RepositoryNotFoundError:
        why = "neither on this machine nor on the hub (a private one needs `hf auth login`)"
    except errors.RevisionNotFoundError:
        why = f"{name.repo} has no revision {name.revision}"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        why = (
            "neither on this machine nor in the hub's cache, and the hub cannot be reached (no "
            "network, or HF_HUB_OFFLINE is set); fetch it once where there is a network"
        )
    except Exception as error:  # whatever goes wrong between here and there
        why = f"the hub did not answer ({type(error).__name__}: {' '.join(str(error).split())})"
    raise FileNotFoundError(f"{name}: {why}"[:1000]) from None
