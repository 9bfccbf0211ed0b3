"""Captions read byte by byte or word by word, by a small transformer that is trained along."""

import dataclasses
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.noun import noun, structure

_PAD, _END, _UNITS = 256, 257, 258  # bytes are 0 .. 255, words come after _UNITS
_WORD = re.compile(r"\w+")


@noun
class Captions:
    """A text for each sample, as UTF-8 bytes (Xue et al. 2022, ByT5): no vocabulary is needed.

    The condition is `{"context": [B, length, width], "embedding": [B, width]}`: a state for each
    byte or word, and their mean over the text. The empty text means "nothing said".

    Attributes:
        length: bytes or words that are read, >= 2; longer texts are cut.
        width: of the states; a multiple of `num_heads`.
        depth: transformer layers, >= 0.
        num_heads: of their attention.
        dropout: probability, in [0, 1], of replacing a caption by the empty text in training.
        words: rows of a table of whole words, in lower case, each of which has the row that its
            checksum says (Weinberger et al. 2009): a small set is learned sooner so, and two words
            may share a row. None: bytes.
        token: a new name, such as "<new>", that texts may hold, see `with_token`; None: none.
        vectors: that it stands for, >= 1.
        params: of the transformer; None before training.
    """

    length: int = structure(default=64)
    width: int = structure(default=128)
    depth: int = structure(default=2)
    num_heads: int = structure(default=4)
    dropout: float = structure(default=0.1)
    words: int | None = structure(default=None)
    token: str | None = structure(default=None)
    vectors: int = structure(default=1)
    params: Any = None

    reads: ClassVar[tuple[str, ...]] = ("caption",)
    asks: ClassVar[tuple[str, ...]] = ("prompt", "negative")
    trained: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"conditioner.dropout must lie in 0 to 1, got {self.dropout}")
        for name, low, high in (
            ("length", 2, 4096),
            ("width", 1, 8192),
            ("depth", 0, 64),
            ("num_heads", 1, 128),
            ("words", 1, 10**7),
            ("vectors", 1, self.length - 1),
        ):
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"conditioner.{name} must lie in {low} to {high}, got {getattr(self, name)}"
                )
        if self.width % self.num_heads:
            raise ValueError(
                f"conditioner.width {self.width} does not split into {self.num_heads} heads; "
                "change width or num_heads"
            )
        if self.token is not None and not str(self.token).strip():
            raise ValueError("conditioner.token is empty; give a name that no text has, as <new>")

    @property
    def module(self) -> nn.Module:
        """The transformer."""
        new = 0 if self.token is None else self.vectors
        return _TextEncoder(self.length, self.width, self.depth, self.num_heads, self._rows, new)

    @property
    def _rows(self) -> int:
        """Of the table of bytes and words; those of the new token are numbered behind them."""
        return _UNITS + (self.words or 0)

    def fitted(self, spec: Any) -> "Captions":
        """Itself.

        Raises:
            ValueError: the data have no captions.
        """
        if "caption" not in spec.columns:
            raise ValueError(
                "conditioner captions needs data with captions; set --data.captions True, or use "
                "another conditioner"
            )
        return self

    def init(self, key: Array) -> Any:
        """Parameters of the transformer."""
        return self.module.init(key, jnp.full((1, self.length), _PAD, jnp.int32))

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The captions' bytes or words, int32 `[..., length]`."""
        captions = np.asarray(batch["caption"])
        tokens = self.tokens([str(text) for text in captions.ravel()])
        return {"tokens": tokens.reshape(*captions.shape, self.length)}

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Bytes or words, an end, padding: int32 `[N, length]`.

        Example:
            >>> Captions(length=4).tokens(["a"]).tolist()
            [[97, 257, 256, 256]]
        """
        rows = np.full((len(texts), self.length), _PAD, np.int32)
        for row, text in zip(rows, texts, strict=True):
            units = self._units(text)[: self.length - 1]
            row[: len(units)] = units
            row[len(units)] = _END
        return rows

    def _units(self, text: str) -> list[int]:
        if self.token is not None and self.token in text:
            before, _, after = text.partition(self.token)
            new = [self._rows + i for i in range(self.vectors)]
            return [*self._units(before), *new, *self._units(after)]
        if self.words is None:
            return list(text.encode("utf-8", errors="replace"))
        found = _WORD.findall(text.lower())
        return [_UNITS + zlib.crc32(word.encode("utf-8", "replace")) % self.words for word in found]

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """Prompts, `request.num` samples each, and the negative ones; None is the empty text."""
        prompts, negatives = request.texts(num)
        return {"tokens": self.tokens(prompts)}, {"tokens": self.tokens(negatives)}

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Each caption replaced by the empty text with probability `dropout`."""
        if self.dropout == 0:
            return told
        tokens = told["tokens"]
        dropped = jax.random.bernoulli(key, self.dropout, tokens.shape[:1])
        return {"tokens": jnp.where(dropped[:, None], self.tokens([""]), tokens)}

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """The states of the bytes or words, and their mean."""
        # Flax says "or a pair", which only `mutable` gives.
        return cast(dict[str, Array], self.module.apply(params, told["tokens"]))

    def with_token(self, token: str, vectors: int, initial: str) -> "Captions":
        """The conditioner with a new token: textual inversion (Gal et al. 2022).

        Its vectors are the rows of the table `new_embedding`, the only ones that
        `Subset("new_embedding")` learns.

        Args:
            token: what texts call it, such as "<new>".
            vectors: how many it stands for.
            initial: a text whose bytes' or words' vectors these are at first, in turn.

        Raises:
            ValueError: no parameters, a token that is there already, or an initial text of nothing.
        """
        if self.params is None or self.token is not None:
            got = "none" if self.params is None else f"the token {self.token!r} already"
            raise ValueError(f"a new token needs a trained conditioner without one, got {got}")
        units = self._units(initial)
        if not units:
            raise ValueError(f"conditioner.initial {initial!r} says nothing; give a word")
        tables = self.params["params"]
        start = tables["byte"]["embedding"][np.resize(units, vectors)]
        params = {"params": tables | {"new_embedding": {"embedding": start}}}
        return dataclasses.replace(self, token=token, vectors=vectors, params=params)

    def with_params(self, params: Any) -> "Captions":
        """The conditioner with its transformer's parameters."""
        return dataclasses.replace(self, params=params)


class _TextEncoder(nn.Module):
    """Unit and place embeddings, then pre-norm transformer layers that do not see padding."""

    length: int
    width: int
    depth: int
    num_heads: int
    units: int
    new: int = 0

    @nn.compact
    def __call__(self, tokens: Array) -> dict[str, Array]:
        place = nn.Embed(self.length, self.width, name="place")(jnp.arange(self.length))
        h = self._embedded(tokens) + place[None]
        present = tokens != _PAD
        mask = present[:, None, None, :]
        for i in range(self.depth):
            normed = nn.LayerNorm(name=f"attention_norm_{i}")(h)
            attend = nn.MultiHeadDotProductAttention(self.num_heads, name=f"attention_{i}")
            h = h + jnp.asarray(attend(normed, mask=mask))  # Flax says "or None"
            hidden = nn.Dense(4 * self.width, name=f"in_{i}")(nn.LayerNorm(name=f"norm_{i}")(h))
            h = h + nn.Dense(self.width, name=f"out_{i}")(nn.gelu(hidden))
        h = nn.LayerNorm(name="norm_out")(h) * present[..., None]
        mean = h.sum(1) / present.sum(1, keepdims=True)
        return {"context": h, "embedding": mean}

    def _embedded(self, tokens: Array) -> Array:
        table = nn.Embed(self.units, self.width, name="byte")
        if not self.new:
            return table(tokens)
        own = nn.Embed(self.new, self.width, name="new_embedding")
        known, new = jnp.minimum(tokens, self.units - 1), jnp.maximum(tokens - self.units, 0)
        return jnp.where((tokens >= self.units)[..., None], own(new), table(known))
