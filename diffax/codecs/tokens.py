"""Texts and grey levels as tokens: whole numbers from 0, int32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.noun import noun, structure

_MASK = "░"  # how a masked character is shown
_BETWEEN = "\n" + 20 * "-" + "\n"  # between the samples of a file


@noun
class Tokens:
    """Characters <-> their numbers in the data's alphabet.

    Attributes:
        alphabet: the characters, in the order of their numbers; None: the data's. It is kept with
            a run.

    Example:
        >>> codec = Tokens(alphabet="abc")
        >>> codec.ids("cab").tolist(), codec.texts([[2, 0, 1, 3]])
        ([2, 0, 1], ['cab░'])
    """

    alphabet: str | None = structure(default=None)

    params: ClassVar[dict] = {}
    kind: ClassVar[str] = "text"
    endings: ClassVar[tuple[str, ...]] = (".txt",)

    def fitted(self, spec: Any) -> Tokens:
        """With the data's alphabet.

        Raises:
            ValueError: the data are no text.
        """
        if not spec.alphabet:
            column = spec.columns["x"]
            raise ValueError(
                f"codec tokens is for texts, the data are {column.dtype} {list(column.shape)}; use "
                "data text_file, or codec levels for images"
            )
        return dataclasses.replace(self, alphabet=self.alphabet or spec.alphabet)

    @property
    def size(self) -> int:
        """How many characters there are; the mask is the token of this number."""
        return len(self.alphabet or "")

    def ids(self, text: str) -> np.ndarray:
        """The characters' numbers, int32 `[len(text)]`.

        Raises:
            ValueError: a character that the data did not have.
        """
        numbers = {character: i for i, character in enumerate(self.alphabet or "")}
        unknown = [character for character in text if character not in numbers]
        if unknown:
            raise ValueError(
                f"the character {unknown[0]!r} is none of the {self.size} that this model knows; "
                "leave it out"
            )
        return np.array([numbers[character] for character in text], np.int32)

    def texts(self, data: Iterable[Sequence[int]]) -> list[str]:
        """Numbers `[N, L]` as N texts; masks as shaded blocks."""
        characters = np.array([*(self.alphabet or ""), _MASK])
        return ["".join(characters[np.asarray(row)]) for row in data]

    def to_file(self, data: np.ndarray, ending: str) -> bytes:
        """The samples, in UTF-8, with a line of dashes between them."""
        return (_BETWEEN.join(self.texts(data)) + "\n").encode()

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """`raw`, int32."""
        return jnp.asarray(raw, jnp.int32)

    def decode(self, x: Array) -> Array:
        """`x`: `texts` makes characters of it."""
        return x

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The text's own."""
        return raw


@noun
class Levels:
    """Grey levels, or each channel's, as tokens: images of few levels, such as the digits' 17.

    Attributes:
        levels: how many; 8-bit values are rounded to the nearest.

    Example:
        >>> Levels(levels=17).encode(jnp.array([[0, 128, 255]], jnp.uint8)).tolist()
        [[0, 8, 16]]
    """

    levels: int = structure(default=17)
    params: ClassVar[dict] = {}

    def __post_init__(self) -> None:
        """Checks the number."""
        if not 2 <= self.levels <= 256:
            raise ValueError(f"codec levels must lie in 2 to 256, got {self.levels}")

    def fitted(self, spec: Any) -> Levels:
        """Itself.

        Raises:
            ValueError: the data are no 8-bit images.
        """
        if not spec.is_image:
            column = spec.columns["x"]
            raise ValueError(
                f"codec levels is for uint8 images, the data are {column.dtype} "
                f"{list(column.shape)}; of texts take tokens"
            )
        return self

    @property
    def size(self) -> int:
        """How many tokens there are; the mask is the token of this number."""
        return self.levels

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """The nearest level, of uint8 images or of floats in [-1, 1]."""
        x = image_range.to_float(raw) if raw.dtype == jnp.uint8 else raw
        return jnp.round((x + 1) / 2 * (self.levels - 1)).astype(jnp.int32)

    def decode(self, x: Array) -> Array:
        """Float32 in [-1, 1]; masks as mid-grey."""
        return jnp.where(x == self.levels, 0.0, x * (2.0 / (self.levels - 1)) - 1)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The image's own."""
        return raw
