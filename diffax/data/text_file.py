"""Texts, character by character: the user's own file, or one that comes with Python."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diffax.data import order
from diffax.data.dataset import Dataset
from diffax.data.options import check_split
from diffax.data.source import Batch, Source, columns

SPLITS = ("train", "test", "all")
MOST_CHARACTERS = 2**14  # of an alphabet


@dataclass(frozen=True)
class TextFile:
    """Windows of one text in UTF-8, as numbers of its alphabet: int32 [length].

    Training sees windows from random places; evaluation those that lie end to end. The alphabet is
    that of the whole text, in the order of its code points.

    Splits: "train" is the text's beginning, "test" its last part, `held_out` of it, "all" both.

    Without a file the text is Python's own language reference, as `help("topics")` has it (the
    topics of `pydoc_data`, in the order of their names; PSF licence): about 375,000 characters, a
    paragraph that stands in several topics taken once. Other versions of Python have other texts.

    Example:
        >>> dataset = TextFile(length=16).load()
        >>> dataset.batch(0, seed=0, batch_size=4)["x"].shape
        (4, 16)
    """

    file: str | None = None
    """A text in UTF-8; None: Python's language reference."""

    length: int = 128
    """Characters of a window, >= 1."""

    split: Literal["train", "test", "all"] = "train"
    """train, test or all."""

    held_out: float = 0.1
    """Share of the text, at its end, that is the test split, in (0, 1)."""

    def __post_init__(self) -> None:
        """Checks every value."""
        check_split(self.split, SPLITS)
        if not 1 <= self.length <= 2**20:
            raise ValueError(f"data.length must lie in 1 to 1,048,576, got {self.length}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"data.held_out must lie between 0 and 1, got {self.held_out}")

    def load(self) -> Dataset:
        """Opens the text.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file that is no UTF-8, or a text that is too short or of too many kinds of
                characters.
        """
        text = reference_text() if self.file is None else read_text(self.file)
        alphabet = "".join(sorted(set(text)))
        if len(alphabet) > MOST_CHARACTERS:
            raise ValueError(
                f"expected at most {MOST_CHARACTERS:,} different characters, got {len(alphabet):,}"
            )
        cut = len(text) - int(len(text) * self.held_out)
        part = {"train": text[:cut], "test": text[cut:], "all": text}[self.split]
        if len(part) < self.length:
            raise ValueError(
                f"data.length is {self.length}, and the {self.split} split has {len(part):,} "
                "characters: take shorter windows or a longer text"
            )
        points = np.frombuffer(part.encode("utf-32-le"), np.uint32)
        known = np.frombuffer(alphabet.encode("utf-32-le"), np.uint32)
        ids = np.searchsorted(known, points).astype(np.int32)
        inside = np.arange(self.length)

        def read(rows: np.ndarray) -> Batch:
            return {"x": ids[rows[:, None] * self.length + inside]}

        def fresh(seed: int, step: int, count: int) -> Batch:
            starts = order.fresh_state(seed, step).randint(len(ids) - self.length + 1, size=count)
            return {"x": ids[starts[:, None] + inside]}

        name = "Python's language reference" if self.file is None else str(self.file)
        source = Source(
            columns=columns((self.length,), "int32"),
            size=len(ids) // self.length,
            read=read,
            fresh=fresh,
            alphabet=alphabet,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            notes=(f"{name}: {len(ids):,} characters, {len(alphabet)} different ones",),
        )
        return Dataset(f"text ({self.split})", source)


def read_text(path: str | Path) -> str:
    """A text in UTF-8, its line ends as newlines.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else, with the place of the first wrong byte.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; set data.file to a text in UTF-8")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8: byte {error.object[error.start]:#04x} at "
            f"{error.start:,}; convert it, for instance with iconv"
        ) from None


def reference_text() -> str:
    """Python's language reference, every paragraph once; see `TextFile`."""
    from pydoc_data.topics import topics  # half a megabyte: only where it is needed

    paragraphs = (part for _, topic in sorted(topics.items()) for part in topic.split("\n\n"))
    return "\n\n".join(dict.fromkeys(paragraphs))
