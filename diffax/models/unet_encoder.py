"""The way down and the middle of a text-conditional U-Net, which a ControlNet copies."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.attention import Prompted
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    label_embedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.levels import AttentionSpec, CrossSpec, DownBlock, MidBlock
from diffax.models.blocks.style import Style
from diffax.models.condition import Condition

# The values that the encoder knows, by field.
CHOICES = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "mid_block_type": (None, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
    "addition_embed_type": (None, "text_time"),
}

# Transformer blocks in all: a file may multiply levels, layers and depths.
MOST_TRANSFORMERS = 2048


class ConditionalEncoder(nn.Module):
    """What `UNet2DConditionModel` and its copies have in common: fields, embeddings, way down.

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours. Where a
    field takes one value or a tuple, a tuple has one for each level.

    Attributes:
        in_channels: channels of the latents, with those of `condition["channels"]`.
        flip_sin_to_cos: cosines first in the time embedding.
        freq_shift: as in `sinusoidal_embedding`: 1 in DDPM, 0 in iDDPM.
        down_block_types: a name for each level on the way down; CrossAttn looks at the text.
        mid_block_type: UNetMidBlock2DCrossAttn or UNetMidBlock2D; None: no middle.
        only_cross_attention: no self-attention: both look at the text.
        block_out_channels: channels of each level.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        downsample_padding: 1, or 0 for the right and the lower edge only.
        mid_block_scale_factor: the middle's branches are divided by it.
        norm_num_groups: groups of each GroupNorm.
        norm_eps: added to the variance in GroupNorms.
        cross_attention_dim: width of the text encoder's states.
        transformer_layers_per_block: transformers after each residual block; one number, one a
            level, or for each level one a layer.
        attention_head_dim: the *number of heads*, as in all published files.
        use_linear_projection: into and out of the transformers: linear, or 1 x 1 convolutions.
        class_embed_type: None: a table of num_class_embeds; "timestep": the class is embedded as
            a time; "identity": it comes as a vector; "projection", "simple_projection": projected.
        num_class_embeds: number of classes; None: none.
        addition_embed_type: "text_time": it is told a pooled text and sizes (XL); None: it is not.
        addition_time_embed_dim: width of the embedding of each of XL's sizes.
        projection_class_embeddings_input_dim: width of what is projected: pooled text and sizes.
        resnet_time_scale_shift: "default": the time is added; "scale_shift": it scales and shifts.
        query_chunk: attention takes so many queries at a time; None: by memory.
        remat: recompute each block's activations in the backward pass, to save memory.
        dtype: of the computation: "float32", "bfloat16" or "float16".
        param_dtype: of the parameters, likewise.
    """

    in_channels: int = 4
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int | tuple[int, ...] = 1280
    transformer_layers_per_block: Any = 1
    attention_head_dim: int | tuple[int, ...] = 8
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    resnet_time_scale_shift: str = "default"
    query_chunk: int | None = None
    remat: bool = False
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.same_length(self, "block_out_channels", "down_block_types")
        fields.whole(
            self,
            *("in_channels", "block_out_channels", "norm_num_groups"),
            *("cross_attention_dim", "attention_head_dim"),
        )
        fields.whole(
            self,
            *("addition_time_embed_dim", "projection_class_embeddings_input_dim"),
            optional=True,
        )
        fields.whole(self, "num_class_embeds", "query_chunk", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "layers_per_block", high=fields.MOST_LAYERS)
        fields.whole(self, "transformer_layers_per_block", high=fields.MOST_LAYERS)
        fields.whole(self, "downsample_padding", low=0, high=1)
        fields.number(self, "norm_eps", low=0)
        fields.number(self, "freq_shift", "mid_block_scale_factor")
        fields.one_of(self, **CHOICES, dtype=fields.DTYPES, param_dtype=fields.DTYPES)
        count = len(self.block_out_channels)
        for name in ("only_cross_attention", "attention_head_dim", "layers_per_block"):
            self._each(name, count)
        self._check_transformers(down=self._each("transformer_layers_per_block", count))
        if self.sized and not (
            self.addition_time_embed_dim and self.projection_class_embeddings_input_dim
        ):
            raise ValueError(
                f"{type(self).__name__}.addition_embed_type: text_time needs "
                "addition_time_embed_dim and projection_class_embeddings_input_dim"
            )
        super().__post_init__()

    @property
    def labelled(self) -> bool:
        """Whether it was made for classes."""
        return self.class_embed_type is not None or self.num_class_embeds is not None

    @property
    def sized(self) -> bool:
        """Whether it is told a pooled text and the image's sizes (XL)."""
        return self.addition_embed_type == "text_time"

    @property
    def embeds(self) -> dict[str, bool]:
        """Names of what it is told besides x and t, and whether it was made for each."""
        return {
            "context": True,
            "label": self.labelled,
            "pooled": self.sized,
            "size_ids": self.sized,
        }

    def _style(self, dropout: float = 0.0) -> Style:
        return Style(
            groups=self.norm_num_groups,
            eps=self.norm_eps,
            dropout=dropout,
            scale_shift=self.resnet_time_scale_shift == "scale_shift",
            query_chunk=self.query_chunk,
            remat=self.remat,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )

    def _time_embedding(
        self,
        t: jax.Array,
        condition: Condition,
        style: Style,
        width: int | None = None,
        guidance_size: int | None = None,
    ) -> jax.Array:
        """Time, class, guidance, pooled text and sizes as one vector `[B, width]`."""
        width = width or 4 * self.block_out_channels[0]
        waves = functools.partial(
            sinusoidal_embedding,
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
        )
        times = functools.partial(waves, size=self.block_out_channels[0])
        embed = TimestepEmbedding(style, width, guidance_size, name="time_embedding")
        temb = embed(times(t), condition.get("guidance"))
        if self.labelled:
            kind, rows = self.class_embed_type, self.num_class_embeds
            temb += label_embedding(
                condition["label"], style, width, kind=kind, rows=rows, waves=times
            )
        if self.sized:
            ids = condition["size_ids"]
            # __post_init__ refuses None.
            sizes = waves(ids.reshape(-1), size=self.addition_time_embed_dim or 0)
            pooled = condition["pooled"].astype(jnp.float32)
            told = jnp.concatenate([pooled, sizes.reshape(ids.shape[0], -1)], axis=-1)
            temb += TimestepEmbedding(style, width, name="add_embedding")(told)
        return temb

    def _down(
        self,
        x: jax.Array,
        temb: jax.Array,
        context: jax.Array | Prompted,
        style: Style,
        train: bool,
        features: Sequence[jax.Array] = (),
    ) -> tuple[jax.Array, list[jax.Array]]:
        """All down blocks: the last output, and every layer's with x in front, the skips.

        `features` are added inside the blocks, one each (T2I-Adapter).
        """
        count = len(self.block_out_channels)
        layers = per_block(self.layers_per_block, count)
        depths = per_block(self.transformer_layers_per_block, count)
        skips = [x]
        for i, kind in enumerate(self.down_block_types):
            x, new = DownBlock(
                style,
                self.block_out_channels[i],
                self._attentions(kind, i, layers[i], depths[i]),
                resample=resampling(kind, i, count),
                padding=self.downsample_padding,
                name=f"down_blocks_{i}",
            )(x, temb, context, train, features[i] if i < len(features) else None)
            skips += new
        return x, skips

    def _middle(
        self,
        x: jax.Array,
        temb: jax.Array,
        context: jax.Array | Prompted,
        style: Style,
        train: bool,
        only_cross_attention: bool = False,
    ) -> jax.Array:
        """The middle block, where there is one."""
        if self.mid_block_type is None:
            return x
        mid: tuple[AttentionSpec, ...] = ()
        if self.mid_block_type == "UNetMidBlock2DCrossAttn":
            count = len(self.block_out_channels)
            depth = per_block(self.transformer_layers_per_block, count)[-1]
            mid = self._cross(count - 1, 1, depth, only_cross_attention)
        return MidBlock(style, mid, self.mid_block_scale_factor, name="mid_block")(
            x, temb, context, train
        )

    def _attentions(
        self, kind: str, level: int, layers: int, depth: Any
    ) -> tuple[AttentionSpec, ...]:
        """One spec for each of the block's layers; `depth` is a number or one for each layer."""
        if not kind.startswith("CrossAttn"):
            return (None,) * layers
        only = per_block(self.only_cross_attention, len(self.block_out_channels))[level]
        return self._cross(level, layers, depth, only)

    def _cross(self, level: int, layers: int, depth: Any, only: bool) -> tuple[CrossSpec, ...]:
        heads = per_block(self.attention_head_dim, len(self.block_out_channels))[level]
        return tuple(
            CrossSpec(heads, d, self.use_linear_projection, bool(only))
            for d in per_block(depth, layers)
        )

    def _each(self, name: str, count: int) -> tuple:
        """A field as one value for each level."""
        values = per_block(getattr(self, name), count)
        if len(values) != count:
            raise ValueError(
                f"{type(self).__name__}.{name}: expected one value, or one for each of {count} "
                f"levels, got {len(values)}"
            )
        return values

    def _check_transformers(self, **ways: tuple) -> None:
        """Refuses more transformers than a network can have: depths of the ways down and up."""
        layers = per_block(self.layers_per_block, len(self.block_out_channels))
        total = 0
        for way, depths in ways.items():
            extra, ordered = (1, layers[::-1]) if way == "up" else (0, layers)
            for depth, own in zip(depths, ordered, strict=True):
                if isinstance(depth, tuple) and any(isinstance(one, tuple) for one in depth):
                    raise ValueError(
                        f"{type(self).__name__}.transformer_layers_per_block: expected numbers, "
                        f"for each level or for each of its layers, got {depth}"
                    )
                if isinstance(depth, tuple) and len(depth) != own + extra:
                    raise ValueError(
                        f"{type(self).__name__}.transformer_layers_per_block: expected one number "
                        f"for each of a level's {own + extra} layers, got {len(depth)}"
                    )
                total += sum(per_block(depth, own + extra))
        if total > MOST_TRANSFORMERS:
            raise ValueError(
                f"{type(self).__name__}.transformer_layers_per_block: expected at most "
                f"{MOST_TRANSFORMERS:,} transformer blocks in all, got {total:,}"
            )


def per_block(value: Any, count: int) -> tuple:
    """`value` repeated, or itself where it is already one for each."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def resampling(kind: str, i: int, count: int) -> str | None:
    """How the i-th of `count` published blocks ends, as `DownBlock` and `UpBlock` say it."""
    if i == count - 1:
        return None
    return "resnet" if kind.startswith("Resnet") else "conv"
