"""CLIP's text encoder (Radford et al. 2021), as OpenAI's L and OpenCLIP's H and bigG use it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.latent.attention import attend

ACTIVATIONS = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": lambda x: nn.gelu(x, approximate=False),
}


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


@dataclasses.dataclass(frozen=True)
class _Shape:
    """What all layers share."""

    width: int
    heads: int
    intermediate: int
    activation: str
    eps: float
    dtype: jnp.dtype
    param_dtype: jnp.dtype

    @property
    def dtypes(self) -> dict:
        return dict(dtype=self.dtype, param_dtype=self.param_dtype)

    def dense(self, features: int, name: str) -> nn.Dense:
        return nn.Dense(features, name=name, **self.dtypes)

    def norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=self.eps, use_fast_variance=False, name=name, **self.dtypes)


class _Embeddings(nn.Module):
    shape: _Shape
    vocabulary: int
    positions: int

    @nn.compact
    def __call__(self, ids):
        table = dict(
            features=self.shape.width,
            embedding_init=nn.initializers.normal(0.02),
            **self.shape.dtypes,
        )
        tokens = nn.Embed(self.vocabulary, name="token_embedding", **table)(ids)
        places = nn.Embed(self.positions, name="position_embedding", **table)(
            jnp.arange(ids.shape[-1])
        )
        return tokens + places[None]


class _SelfAttention(nn.Module):
    shape: _Shape

    @nn.compact
    def __call__(self, x):
        width, heads = self.shape.width, self.shape.heads
        query, key, value = (
            self.shape.dense(width, name)(x).reshape(*x.shape[:-1], heads, width // heads)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        out = attend(query, key, value, causal=True).reshape(x.shape)
        return self.shape.dense(width, "out_proj")(out)


class _MLP(nn.Module):
    shape: _Shape

    @nn.compact
    def __call__(self, x):
        h = self.shape.dense(self.shape.intermediate, "fc1")(x)
        return self.shape.dense(x.shape[-1], "fc2")(ACTIVATIONS[self.shape.activation](h))


class _Layer(nn.Module):
    shape: _Shape

    @nn.compact
    def __call__(self, x):
        x = x + _SelfAttention(self.shape, name="self_attn")(self.shape.norm("layer_norm1")(x))
        return x + _MLP(self.shape, name="mlp")(self.shape.norm("layer_norm2")(x))


class _Encoder(nn.Module):
    shape: _Shape
    layers: int

    @nn.compact
    def __call__(self, x):
        hidden = [x]
        for i in range(self.layers):
            hidden.append(_Layer(self.shape, name=f"layers_{i}")(hidden[-1]))
        return tuple(hidden)


class _TextTransformer(nn.Module):
    shape: _Shape
    vocabulary: int
    positions: int
    layers: int

    @nn.compact
    def __call__(self, ids, skip):
        x = _Embeddings(self.shape, self.vocabulary, self.positions, name="embeddings")(ids)
        hidden = _Encoder(self.shape, self.layers, name="encoder")(x)
        return hidden, self.shape.norm("final_layer_norm")(hidden[-1 - skip])


class CLIPTextModel(nn.Module):
    """CLIP's causal text transformer.

    The attributes are the fields of a checkpoint's `config.json`, and the dtypes (norms and
    softmax are float32 inside). `eos_token_id` 2 is a historic mistake in published files: the
    end token is then the greatest id of each text.

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
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

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
        shape = _Shape(
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.hidden_act,
            self.layer_norm_eps,
            self.dtype,
            self.param_dtype,
        )
        hidden, last = _TextTransformer(
            shape,
            self.vocab_size,
            self.max_position_embeddings,
            self.num_hidden_layers,
            name="text_model",
        )(ids, skip)
        end = ids if self.eos_token_id == 2 else ids == self.eos_token_id
        pooled = jnp.take_along_axis(last, jnp.argmax(end, axis=-1)[:, None, None], axis=1)[:, 0]
        return TextEncoding(last, hidden, pooled, self._project(pooled))

    def _project(self, pooled):
        return None


class CLIPTextModelWithProjection(CLIPTextModel):
    """CLIP's text transformer with the map into the joint space of texts and pictures."""

    def _project(self, pooled):
        return nn.Dense(
            self.projection_dim,
            use_bias=False,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="text_projection",
        )(pooled)
