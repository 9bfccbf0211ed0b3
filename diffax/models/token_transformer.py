"""A transformer over tokens, which sees all of them at once or, as a causal one, those before."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import TimestepEmbedding, sinusoidal_embedding
from diffax.models.blocks.modulated import ModulatedBlock, modulated, modulation
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, checked, labels

_SMALL = nn.initializers.normal(0.02)


class TokenTransformer(nn.Module):
    """DiT's blocks over tokens, as in MDLM and SEDD (Sahoo et al. 2024; Lou et al. 2024).

    Tokens `[B, ...]` of any shape are read as one row, and places in it are told by rotary
    embeddings, with `learned_places` also by a table of vectors, for rows that are images.

    Attributes:
      vocabulary: V, how many tokens the data have; V itself, the mask, can be read, too. None: as
        many as the codec has.
      features: width of a token, a multiple of `num_heads`, by an even number.
      depth: number of transformer blocks.
      num_heads: attention heads.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        network without classes.
      timed: whether it is told the time, in [0, 1]. With masks it need not be: they say it.
      neighbours: how many tokens on either side (of a causal network: before it) are part of a
        token's embedding, each by a table of its own: what stands next to what is learned at once.
      learned_places: whether every place has a vector of its own, besides.
      causal: token i sees tokens 0 ... i only.
      dtype: "float32" or "bfloat16", of the computation.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> network, x = TokenTransformer(vocabulary=5, features=16, depth=1, num_heads=2), jnp.zeros(
      ...     (2, 6), jnp.int32)
      >>> init = network.init_with_output  # its shapes alone: nothing is computed
      >>> jax.eval_shape(init, jax.random.key(0), x, jnp.zeros(2))[0].shape
      (2, 6, 5)
    """

    vocabulary: int | None = None
    features: int = 128
    depth: int = 4
    num_heads: int = 4
    num_classes: int | None = None
    timed: bool = False
    neighbours: int = 0
    learned_places: bool = False
    causal: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "features", "num_heads")
        fields.whole(self, "depth", high=fields.MOST_LAYERS)
        fields.whole(self, "neighbours", low=0, high=64)
        fields.whole(self, "vocabulary", "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.one_of(self, dtype=("float32", "bfloat16"))
        if self.features % (2 * self.num_heads):
            raise ValueError(
                "TokenTransformer.features: expected an even multiple of num_heads "
                f"{self.num_heads}, got {self.features}"
            )
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return () if self.num_classes is None else ("label",)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: int `[B, ...]`, tokens 0 ... vocabulary.
          t: `[B]`, times in [0, 1]; without `timed` they make no difference.
          condition: "label" int `[B]` where there are classes; without it the null label.
          train: makes no difference.

        Returns:
          Logits `[B, ..., vocabulary]`, float32.

        Raises:
          ValueError: x is not of whole numbers, no vocabulary, or a condition that is not read.
        """
        if self.vocabulary is None or not jnp.issubdtype(x.dtype, jnp.integer):
            raise ValueError(
                f"TokenTransformer: expected tokens and a vocabulary, got {x.dtype} "
                f"{list(x.shape)} and vocabulary {self.vocabulary}"
            )
        condition = checked(self, condition, x.shape[0])
        style = Style(dtype=self.dtype)
        exact = dataclasses.replace(style, dtype="float32")
        tokens = x.reshape(x.shape[0], -1)
        h = self._embedded(tokens, self.vocabulary, style)
        if self.learned_places:
            h = h + self.param("places", _SMALL, (tokens.shape[1], self.features))[None]
        vector = self._embed(t, condition, exact)
        for i in range(self.depth):
            block = ModulatedBlock(
                style, self.num_heads, causal=self.causal, rotary=True, name=f"blocks_{i}"
            )
            h = block(h, vector)
        shift, scale = modulation(vector, 2, self.features, exact)
        h = modulated(h.astype(jnp.float32), shift, scale, exact)
        zero = nn.initializers.zeros
        logits = exact.dense(self.vocabulary, "logits", kernel_init=zero)(h)
        return logits.reshape(*x.shape, self.vocabulary)

    def _embedded(self, tokens: jax.Array, vocabulary: int, style: Style) -> jax.Array:
        """Every token with its neighbours `[B, N, features]`: their vectors by distance, added."""
        behind = self.neighbours
        ahead = 0 if self.causal else self.neighbours
        width = behind + 1 + ahead
        table = style.embed(vocabulary + 1, width * self.features, "embedding", _SMALL)
        vectors = table(tokens).reshape(*tokens.shape, width, self.features)
        padded = jnp.pad(vectors, ((0, 0), (behind, ahead), (0, 0), (0, 0)))
        length = tokens.shape[1]
        shifted = [padded[:, i : i + length, i] for i in range(width)]
        return functools.reduce(jnp.add, shifted)

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time, label, and what is the same for all, as one float32 vector `[B, features]`."""
        vector = self.param("vector", _SMALL, (self.features,))[None]
        vector = jnp.broadcast_to(vector, (t.shape[0], self.features))
        if self.timed:
            waves = sinusoidal_embedding(1000 * t, 256, flip_sin_to_cos=True, freq_shift=0)
            vector = vector + TimestepEmbedding(style, self.features, name="time_embedding")(waves)
        if self.num_classes is None:
            return vector
        table = style.embed(self.num_classes + 1, self.features, "class_embedding", _SMALL)
        return vector + table(labels(condition, t.shape[0], self.num_classes))
