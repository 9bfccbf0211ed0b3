"""CLIP's text encoder (Radford et al. 2021), as OpenAI's L and OpenCLIP's H and bigG use it."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.clip import ACTIVATIONS, Encoder, Shape
from diffax.models.blocks.style import Style


class TextEncoding(NamedTuple):
    """What the encoder knows of a text; C is its width.

    Attributes:
        last: `[B, L, C]`, the last layer's states after the final norm.
        hidden: one `[B, L, C]` for the embeddings and one a layer, before the final norm.
        pooled: `[B, C]`, `last` at the end token.
        projected: `[B, P]`, `pooled` in CLIP's joint space; None without a projection.
    """

    last: jax.Array
    hidden: tuple[jax.Array, ...]
    pooled: jax.Array
    projected: jax.Array | None


class _Embeddings(nn.Module):
    shape: Shape
    vocabulary: int
    positions: int
    new_tokens: int

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        def table(rows: int, name: str) -> nn.Module:
            init = nn.initializers.normal(0.02)
            return self.shape.style.embed(rows, self.shape.width, name, init)

        places = table(self.positions, "position_embedding")(jnp.arange(ids.shape[-1]))
        tokens = table(self.vocabulary, "token_embedding")
        if self.new_tokens == 0:
            return tokens(ids) + places[None]
        is_new = ids >= self.vocabulary
        new = table(self.new_tokens, "new_embedding")(jnp.where(is_new, ids - self.vocabulary, 0))
        return jnp.where(is_new[..., None], new, tokens(jnp.where(is_new, 0, ids))) + places[None]


class _TextTransformer(nn.Module):
    shape: Shape
    vocabulary: int
    positions: int
    new_tokens: int
    layers: int

    @nn.compact
    def __call__(self, ids: jax.Array, skip: int) -> tuple[tuple[jax.Array, ...], jax.Array]:
        style = self.shape.style
        x = _Embeddings(
            self.shape, self.vocabulary, self.positions, self.new_tokens, name="embeddings"
        )(ids)
        hidden = Encoder(self.shape, self.layers, name="encoder")(x)
        return hidden, style.layer_norm("final_layer_norm", style.eps)(hidden[-1 - skip])


class CLIPTextModel(nn.Module):
    """CLIP's causal text transformer.

    The attributes are the fields of a checkpoint's `config.json`, the dtypes (norms and softmax are
    float32 inside), and `new_tokens`: how many tokens, numbered from `vocab_size` on, have a table
    of their own, which textual inversion learns (Gal et al. 2022). `eos_token_id` 2 is a historic
    mistake in published files: the end token is then the greatest id of each text.

    Example:
        >>> model = CLIPTextModel(vocab_size=100, hidden_size=32, intermediate_size=64,
        ...                       num_hidden_layers=2, num_attention_heads=4, eos_token_id=99)
        >>> ids = jnp.zeros((1, 77), jnp.int32)
        >>> params = model.init(jax.random.key(0), ids)
        >>> model.apply(params, ids).last.shape
        (1, 77, 32)
    """

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407
    projection_dim: int = 512
    new_tokens: int = 0
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "vocab_size", high=fields.MOST_ROWS)
        fields.whole(self, "hidden_size", "intermediate_size", "num_attention_heads")
        fields.whole(self, "max_position_embeddings", "projection_dim")
        fields.whole(self, "num_hidden_layers", high=fields.MOST_LAYERS)
        fields.whole(self, "eos_token_id", "new_tokens", low=0, high=fields.MOST_ROWS)
        fields.number(self, "layer_norm_eps", low=0)
        fields.one_of(
            self,
            hidden_act=tuple(ACTIVATIONS),
            dtype=fields.DTYPES,
            param_dtype=fields.DTYPES,
        )
        super().__post_init__()

    @nn.compact
    def __call__(self, ids: jax.Array, skip: int = 0) -> TextEncoding:
        """Encodes texts.

        Args:
            ids: tokens `[B, L]` int, L at most `max_position_embeddings`.
            skip: so many last layers are left out of `last`, `pooled` and `projected`; the final
                norm is applied to the earlier one ("CLIP skip").

        Returns:
            A `TextEncoding`; its states have the model's `dtype`.
        """
        if ids.shape[-1] > self.max_position_embeddings:
            raise ValueError(
                f"expected at most {self.max_position_embeddings} tokens, got {ids.shape[-1]}: "
                "encode a long text in chunks"
            )
        shape = Shape(
            self._style(),
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.hidden_act,
        )
        hidden, last = _TextTransformer(
            shape,
            self.vocab_size,
            self.max_position_embeddings,
            self.new_tokens,
            self.num_hidden_layers,
            name="text_model",
        )(ids, skip)
        known = jnp.where(ids < self.vocab_size, ids, 0)
        end = known if self.eos_token_id == 2 else ids == self.eos_token_id
        pooled = jnp.take_along_axis(last, jnp.argmax(end, axis=-1)[:, None, None], axis=1)[:, 0]
        return TextEncoding(last, hidden, pooled, self._project(pooled))

    def _style(self) -> Style:
        return Style(eps=self.layer_norm_eps, dtype=self.dtype, param_dtype=self.param_dtype)

    def _project(self, pooled: jax.Array) -> jax.Array | None:
        return None


class CLIPTextModelWithProjection(CLIPTextModel):
    """CLIP's text transformer with the map into the joint space of texts and images."""

    def _project(self, pooled: jax.Array) -> jax.Array:
        return self._style().dense(self.projection_dim, "text_projection", use_bias=False)(pooled)
