"""The text-conditional U-Net of Stable Diffusion 1, 2 and XL, `UNet2DConditionModel`."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    label_embedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.levels import AttentionSpec, CrossSpec, DownBlock, MidBlock, UpBlock
from diffax.models.blocks.style import Style
from diffax.models.condition import Condition, checked

# The values that the network knows, by field.
CHOICES = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "mid_block_type": (None, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
    "addition_embed_type": (None, "text_time"),
}

# Transformer blocks in all: a file may multiply levels, layers and depths.
MOST_TRANSFORMERS = 2048


class UNet2DConditionModel(nn.Module):
    """U-Net with cross-attention to a text (Rombach et al. 2022; XL: Podell et al. 2023).

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours. Where a
    field takes one value or a tuple, a tuple has one for each level.

    Attributes:
        sample_size: side of the latents it was trained on, or (height, width); a default.
        in_channels: channels of the latents, with those of `condition["channels"]`.
        out_channels: channels of the answer.
        center_input_sample: latents come in [0, 1] and are moved to [-1, 1] first.
        flip_sin_to_cos: cosines first in the time embedding.
        freq_shift: as in `sinusoidal_embedding`: 1 in DDPM, 0 in iDDPM.
        down_block_types: a name for each level on the way down; CrossAttn looks at the text.
        mid_block_type: UNetMidBlock2DCrossAttn or UNetMidBlock2D; None: no middle.
        up_block_types: a name for each level on the way up.
        only_cross_attention: no self-attention: both look at the text.
        mid_block_only_cross_attention: the same of the middle; None: as only_cross_attention.
        block_out_channels: channels of each level.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        downsample_padding: 1, or 0 for the right and the lower edge only.
        mid_block_scale_factor: the middle's branches are divided by it.
        dropout: probability in the residual blocks, in [0, 1], while training.
        norm_num_groups: groups of each GroupNorm.
        norm_eps: added to the variance in GroupNorms.
        cross_attention_dim: width of the text encoder's states.
        transformer_layers_per_block: transformers after each residual block; one number, one a
            level, or for each level one a layer.
        reverse_transformer_layers_per_block: the same on the way up; None: as on the way down.
        attention_head_dim: the *number of heads*, as in all published files.
        use_linear_projection: into and out of the transformers: linear, or 1 x 1 convolutions.
        class_embed_type: None: a table of num_class_embeds; "timestep": the class is embedded as
            a time; "identity": it comes as a vector; "projection", "simple_projection": projected.
        num_class_embeds: number of classes; None: none.
        addition_embed_type: "text_time": it is told a pooled text and sizes (XL); None: it is not.
        addition_time_embed_dim: width of the embedding of each of XL's sizes.
        projection_class_embeddings_input_dim: width of what is projected: pooled text and sizes.
        resnet_time_scale_shift: "default": the time is added; "scale_shift": it scales and shifts.
        time_embedding_dim: width of the time embedding; None: 4 block_out_channels[0].
        time_cond_proj_dim: width of the guidance embedding of distilled models; None: none.
        conv_in_kernel: side of the first convolution: 1, 3, 5 or 7.
        conv_out_kernel: side of the last convolution: 1, 3, 5 or 7.
        query_chunk: attention takes so many queries at a time; None: by memory.
        remat: recompute each block's activations in the backward pass, to save memory.
        dtype: of the computation: "float32", "bfloat16" or "float16".
        param_dtype: of the parameters, likewise.

    Example:
        >>> model = UNet2DConditionModel(block_out_channels=(32, 64), cross_attention_dim=16,
        ...     down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        ...     up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2)
        >>> x, t, text = jnp.zeros((1, 16, 16, 4)), jnp.zeros(1), jnp.zeros((1, 77, 16))
        >>> params = model.init(jax.random.key(0), x, t, {"context": text})
        >>> model.apply(params, x, t, {"context": text}).shape
        (1, 16, 16, 4)
    """

    sample_size: int | tuple[int, int] | None = None
    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    only_cross_attention: bool | tuple[bool, ...] = False
    mid_block_only_cross_attention: bool | None = None
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1
    dropout: float = 0.0
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int | tuple[int, ...] = 1280
    transformer_layers_per_block: Any = 1
    reverse_transformer_layers_per_block: Any = None
    attention_head_dim: int | tuple[int, ...] = 8
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    resnet_time_scale_shift: str = "default"
    time_embedding_dim: int | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3
    query_chunk: int | None = None
    remat: bool = False
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.same_length(self, "block_out_channels", "down_block_types", "up_block_types")
        fields.whole(
            self,
            *("in_channels", "out_channels", "block_out_channels", "norm_num_groups"),
            *("cross_attention_dim", "attention_head_dim"),
        )
        fields.whole(
            self,
            *("time_embedding_dim", "time_cond_proj_dim", "addition_time_embed_dim"),
            "projection_class_embeddings_input_dim",
            optional=True,
        )
        fields.whole(
            self,
            *("sample_size", "num_class_embeds", "query_chunk"),
            high=fields.MOST_ROWS,
            optional=True,
        )
        fields.whole(self, "layers_per_block", high=fields.MOST_LAYERS)
        fields.whole(self, "transformer_layers_per_block", high=fields.MOST_LAYERS)
        fields.whole(
            self, "reverse_transformer_layers_per_block", high=fields.MOST_LAYERS, optional=True
        )
        fields.whole(self, "downsample_padding", low=0, high=1)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "norm_eps", low=0)
        fields.number(self, "freq_shift", "mid_block_scale_factor")
        fields.one_of(
            self,
            **CHOICES,
            conv_in_kernel=(1, 3, 5, 7),
            conv_out_kernel=(1, 3, 5, 7),
            dtype=fields.DTYPES,
            param_dtype=fields.DTYPES,
        )
        self._check_levels()
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
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {
            "context": True,
            "label": self.labelled,
            "pooled": self.sized,
            "size_ids": self.sized,
            "guidance": self.time_cond_proj_dim is not None,
            "channels": True,
        }
        return tuple(name for name, asked in told.items() if asked)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition,
        *,
        down_residuals: tuple[jax.Array, ...] | None = None,
        mid_residual: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Evaluates the network.

        Args:
            x: latents `[B, H, W, C]`.
            t: `[B]`, in the schedule's steps (0..T-1).
            condition: arrays, of which the model's configuration asks for some:
                "context" `[B, L, cross_attention_dim]`, the text encoder's states (always);
                "channels" `[B, H, W, in_channels - C]`, appended to x (inpainting models);
                "pooled" `[B, K]` and "size_ids" `[B, 6]`, the pooled text and the original size,
                crop and target size (XL);
                "label" `[B]` int, or `[B, K]` for class embeddings that are projections;
                "guidance" `[B, time_cond_proj_dim]`, of distilled models, see
                `diffax.models.blocks.embeddings.guidance_embedding`; without it they are told
                nothing of guidance.
            down_residuals: added to the skips, input convolution first (ControlNet).
            mid_residual: added to the middle block's output (ControlNet).
            train: whether dropout is active (rng "dropout").

        Returns:
            `[B, H, W, out_channels]`, float32.

        Raises:
            ValueError: a condition that is missing, or that the network does not read.
        """
        needed = tuple(name for name in self.reads if name not in ("guidance", "channels"))
        condition = checked(self, condition, x.shape[0], needed)
        style = Style(
            groups=self.norm_num_groups,
            eps=self.norm_eps,
            dropout=self.dropout,
            scale_shift=self.resnet_time_scale_shift == "scale_shift",
            query_chunk=self.query_chunk,
            remat=self.remat,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        channels = self.block_out_channels
        count = len(channels)
        temb = self._time_embedding(t, condition, style)
        context = condition["context"].astype(self.dtype)
        if "channels" in condition:
            x = jnp.concatenate([x, condition["channels"].astype(x.dtype)], axis=-1)
        if x.shape[-1] != self.in_channels:
            raise ValueError(
                f"expected {self.in_channels} input channels, got {x.shape[-1]}: "
                'an inpainting model takes its mask and masked latents in condition["channels"]'
            )
        if self.center_input_sample:
            x = 2 * x - 1

        x = style.conv(channels[0], "conv_in", size=self.conv_in_kernel)(x)
        layers = _per_block(self.layers_per_block, count)
        depths = _per_block(self.transformer_layers_per_block, count)
        skips = [x]
        for i, kind in enumerate(self.down_block_types):
            x, new = DownBlock(
                style,
                channels[i],
                self._attentions(kind, i, layers[i], depths[i]),
                resample=_resample(kind, i, count),
                padding=self.downsample_padding,
                name=f"down_blocks_{i}",
            )(x, temb, context, train)
            skips += new
        if down_residuals is not None:
            skips = [a + b.astype(a.dtype) for a, b in zip(skips, down_residuals, strict=True)]

        if self.mid_block_type is not None:
            mid = ()
            if self.mid_block_type == "UNetMidBlock2DCrossAttn":
                mid = self._attentions("CrossAttn", count - 1, 1, depths[-1], middle=True)
            x = MidBlock(style, mid, self.mid_block_scale_factor, name="mid_block")(
                x, temb, context, train
            )
        if mid_residual is not None:
            x = x + mid_residual.astype(x.dtype)

        if self.reverse_transformer_layers_per_block is not None:
            up_depths = _per_block(self.reverse_transformer_layers_per_block, count)
        else:
            up_depths = depths[::-1]
        for i, kind in enumerate(self.up_block_types):
            level = count - 1 - i
            mine, skips = skips[-layers[level] - 1 :], skips[: -layers[level] - 1]
            x = UpBlock(
                style,
                channels[level],
                self._attentions(kind, level, layers[level] + 1, up_depths[i]),
                resample=_resample(kind, i, count),
                name=f"up_blocks_{i}",
            )(x, mine, temb, context, train, _size(skips[-1]) if skips else None)
        x = nn.silu(style.norm("conv_norm_out")(x))
        out = style.conv(self.out_channels, "conv_out", size=self.conv_out_kernel)(x)
        return out.astype(jnp.float32)

    def _time_embedding(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        width = self.time_embedding_dim or 4 * self.block_out_channels[0]
        waves = functools.partial(
            sinusoidal_embedding,
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
        )
        times = functools.partial(waves, size=self.block_out_channels[0])
        embed = TimestepEmbedding(style, width, self.time_cond_proj_dim, name="time_embedding")
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

    def _check_levels(self) -> None:
        """Refuses tuples of a wrong length, and more layers than a network can have."""
        count = len(self.block_out_channels)
        for name in ("only_cross_attention", "attention_head_dim", "layers_per_block"):
            self._each(name, count)
        if isinstance(self.sample_size, tuple) and len(self.sample_size) != 2:
            raise ValueError(
                f"UNet2DConditionModel.sample_size: expected a side or (height, width), got "
                f"{self.sample_size}"
            )
        down = self._each("transformer_layers_per_block", count)
        up = down[::-1]
        if self.reverse_transformer_layers_per_block is not None:
            up = self._each("reverse_transformer_layers_per_block", count)
        layers = _per_block(self.layers_per_block, count)
        total = 0
        for depths, extra, ordered in ((down, 0, layers), (up, 1, layers[::-1])):
            for depth, own in zip(depths, ordered, strict=True):
                if isinstance(depth, tuple) and any(isinstance(one, tuple) for one in depth):
                    raise ValueError(
                        "UNet2DConditionModel.transformer_layers_per_block: expected numbers, for "
                        f"each level or for each of its layers, got {depth}"
                    )
                if isinstance(depth, tuple) and len(depth) != own + extra:
                    raise ValueError(
                        f"UNet2DConditionModel.transformer_layers_per_block: expected one number "
                        f"for each of a level's {own + extra} layers, got {len(depth)}"
                    )
                total += sum(_per_block(depth, own + extra))
        if total > MOST_TRANSFORMERS:
            raise ValueError(
                f"UNet2DConditionModel.transformer_layers_per_block: expected at most "
                f"{MOST_TRANSFORMERS:,} transformer blocks in all, got {total:,}"
            )
        if self.sized and not (
            self.addition_time_embed_dim and self.projection_class_embeddings_input_dim
        ):
            raise ValueError(
                "UNet2DConditionModel.addition_embed_type: text_time needs "
                "addition_time_embed_dim and projection_class_embeddings_input_dim"
            )

    def _each(self, name: str, count: int) -> tuple:
        """A field as one value for each level."""
        values = _per_block(getattr(self, name), count)
        if len(values) != count:
            raise ValueError(
                f"UNet2DConditionModel.{name}: expected one value, or one for each of {count} "
                f"levels, got {len(values)}"
            )
        return values

    def _attentions(
        self, kind: str, level: int, layers: int, depth: Any, middle: bool = False
    ) -> tuple[AttentionSpec, ...]:
        """One spec for each of the block's layers; `depth` is a number or one for each layer."""
        if not kind.startswith("CrossAttn"):
            return (None,) * layers
        only = self.only_cross_attention
        if middle:
            explicit = self.mid_block_only_cross_attention
            only = explicit if explicit is not None else (only is True)
        else:
            only = _per_block(only, len(self.block_out_channels))[level]
        heads = _per_block(self.attention_head_dim, len(self.block_out_channels))[level]
        return tuple(
            CrossSpec(heads, d, self.use_linear_projection, bool(only))
            for d in _per_block(depth, layers)
        )


def _size(x: jax.Array) -> tuple[int, int]:
    """Height and width of `[B, H, W, C]`."""
    _, height, width, _ = x.shape
    return height, width


def _per_block(value: Any, count: int) -> tuple:
    """`value` repeated, or itself where it is already one for each."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def _resample(kind: str, i: int, count: int) -> str | None:
    if i == count - 1:
        return None
    return "resnet" if kind.startswith("Resnet") else "conv"
