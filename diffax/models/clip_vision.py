"""CLIP's image encoder, a vision transformer (Radford et al. 2021; Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.clip import ACTIVATIONS, Encoder, Shape
from diffax.models.blocks.style import Style

# What the encoders were trained on: colours in [0, 1] minus MEAN, over STD.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoding(NamedTuple):
    """What the encoder knows of an image; C is its width, L its patches and one.

    Attributes:
        hidden: one `[B, L, C]` for the embeddings and one a layer.
        pooled: `[B, C]`, the class token's last state after a norm.
        projected: `[B, P]`, `pooled` in CLIP's joint space; None without a projection.
    """

    hidden: tuple[jax.Array, ...]
    pooled: jax.Array
    projected: jax.Array | None


class _Embeddings(nn.Module):
    shape: Shape
    patch: int

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        style, width, patch = self.shape.style, self.shape.width, self.patch
        conv = style.conv(
            width, "patch_embedding", size=patch, stride=patch, padding="VALID", use_bias=False
        )
        patches = conv(images)
        patches = patches.reshape(images.shape[0], -1, width)
        init = nn.initializers.normal(0.02)
        first = self.param("class_embedding", init, (width,), jnp.dtype(style.param_dtype))
        first = jnp.broadcast_to(first.astype(patches.dtype), (images.shape[0], 1, width))
        tokens = jnp.concatenate([first, patches], axis=1)
        rows = tokens.shape[1]
        return tokens + style.embed(rows, width, "position_embedding", init)(jnp.arange(rows))[None]


class _VisionTransformer(nn.Module):
    shape: Shape
    patch: int
    layers: int

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
        style = self.shape.style
        x = _Embeddings(self.shape, self.patch, name="embeddings")(images)
        x = style.layer_norm("pre_layrnorm", style.eps)(x)  # the published spelling
        hidden = Encoder(self.shape, self.layers, name="encoder")(x)
        return hidden, style.layer_norm("post_layernorm", style.eps)(hidden[-1][:, 0])


class CLIPVisionModel(nn.Module):
    """CLIP's vision transformer.

    The attributes are the fields of a checkpoint's `config.json`, and the dtypes (norms and
    softmax are float32 inside).

    Example:
        >>> model = CLIPVisionModel(hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        ...                         num_attention_heads=4, image_size=16, patch_size=8)
        >>> images = jnp.zeros((1, 16, 16, 3))
        >>> params = model.init(jax.random.key(0), images)
        >>> model.apply(params, images).hidden[-1].shape
        (1, 5, 32)
    """

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "hidden_size", "intermediate_size", "num_attention_heads")
        fields.whole(self, "num_channels", "image_size", "patch_size", "projection_dim")
        fields.whole(self, "num_hidden_layers", high=fields.MOST_LAYERS)
        fields.number(self, "layer_norm_eps", low=0)
        fields.one_of(
            self, hidden_act=tuple(ACTIVATIONS), dtype=fields.DTYPES, param_dtype=fields.DTYPES
        )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array) -> ImageEncoding:
        """Encodes images.

        Args:
            images: `[B, image_size, image_size, num_channels]`, colours in [0, 1] minus `MEAN`,
                over `STD`.

        Returns:
            An `ImageEncoding`; its states have the model's `dtype`.

        Raises:
            ValueError: images of another size.
        """
        expected = (self.image_size, self.image_size, self.num_channels)
        if images.shape[1:] != expected:
            raise ValueError(
                f"expected images of shape {list(expected)}, got {list(images.shape[1:])}: "
                "resize and crop them"
            )
        shape = Shape(
            self._style(),
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.hidden_act,
            causal=False,
        )
        hidden, pooled = _VisionTransformer(
            shape, self.patch_size, self.num_hidden_layers, name="vision_model"
        )(images.astype(self.dtype))
        return ImageEncoding(hidden, pooled, self._project(pooled))

    def _style(self) -> Style:
        return Style(eps=self.layer_norm_eps, dtype=self.dtype, param_dtype=self.param_dtype)

    def _project(self, pooled: jax.Array) -> jax.Array | None:
        return None


class CLIPVisionModelWithProjection(CLIPVisionModel):
    """CLIP's vision transformer with the map into the joint space of texts and images."""

    def _project(self, pooled: jax.Array) -> jax.Array:
        style = self._style()
        return style.dense(self.projection_dim, "visual_projection", use_bias=False)(pooled)
