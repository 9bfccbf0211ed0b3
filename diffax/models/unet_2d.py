"""The unconditional and class-conditional published U-Net, `UNet2DModel` (google/ddpm-*, LDM)."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    label_embedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.levels import AttentionSpec, DownBlock, MidBlock, SelfSpec, UpBlock
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, checked

# The values that the network knows, by field.
CHOICES = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "mid_block_type": (None, "UNetMidBlock2D"),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None, "timestep", "identity"),
}


class UNet2DModel(nn.Module):
    """U-Net of DDPM (Ho et al. 2020, appendix B) in the form of the published checkpoints.

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours.

    Attributes:
        sample_size: side of the images it was trained on, in pixels; only a default for sampling.
        in_channels: channels of the images.
        out_channels: channels of the answer; twice as many where the variance is learned.
        center_input_sample: images come in [0, 1] and are moved to [-1, 1] first.
        time_embedding_dim: width of the time embedding; None: 4 block_out_channels[0].
        freq_shift: as in `sinusoidal_embedding`: 1 in DDPM, 0 in iDDPM.
        flip_sin_to_cos: cosines first in the time embedding.
        down_block_types: a name for each level on the way down; those with Attn attend.
        up_block_types: a name for each level on the way up.
        mid_block_type: UNetMidBlock2D; None: no middle.
        block_out_channels: channels of each level.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        mid_block_scale_factor: the middle's branches are divided by it.
        downsample_padding: 1, or 0 for the right and the lower edge only.
        downsample_type: "conv" or "resnet": how levels that attend halve the image.
        upsample_type: "conv" or "resnet": how levels that attend double it.
        dropout: probability in the residual blocks, in [0, 1], while training.
        attention_head_dim: channels of a head; None: one head of full width.
        norm_num_groups: groups of each GroupNorm.
        attn_norm_num_groups: groups of the norm before the middle attention; None: as elsewhere.
        norm_eps: added to the variance in GroupNorms.
        resnet_time_scale_shift: "default": the time is added; "scale_shift": it scales and shifts.
        add_attention: whether the middle attends.
        class_embed_type: None: a table of num_class_embeds; "timestep": the class is embedded as
            a time; "identity": it comes as a vector.
        num_class_embeds: number of classes; None: none.
        query_chunk: attention takes so many queries at a time; None: by memory.
        remat: recompute each block's activations in the backward pass, to save memory.
        dtype: of the computation: "float32", "bfloat16" or "float16".
        param_dtype: of the parameters, likewise.

    Example:
        >>> model = UNet2DModel(block_out_channels=(32, 64), norm_num_groups=8,
        ...                     down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        ...                     up_block_types=("AttnUpBlock2D", "UpBlock2D"))
        >>> x, t = jnp.zeros((1, 16, 16, 3)), jnp.zeros(1)
        >>> params = model.init(jax.random.key(0), x, t)
        >>> model.apply(params, x, t).shape
        (1, 16, 16, 3)
    """

    sample_size: int | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_dim: int | None = None
    freq_shift: float = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D",) + ("AttnDownBlock2D",) * 3
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D",) * 3 + ("UpBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2D"
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    query_chunk: int | None = None
    remat: bool = False
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.same_length(self, "block_out_channels", "down_block_types", "up_block_types")
        fields.whole(self, "in_channels", "out_channels", "block_out_channels", "norm_num_groups")
        fields.whole(
            self, "time_embedding_dim", "attention_head_dim", "attn_norm_num_groups", optional=True
        )
        fields.whole(self, "sample_size", "query_chunk", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "num_class_embeds", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "layers_per_block", high=fields.MOST_LAYERS)
        fields.whole(self, "downsample_padding", low=0, high=1)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "norm_eps", low=0)
        fields.number(self, "freq_shift", "mid_block_scale_factor")
        fields.one_of(self, **CHOICES, dtype=fields.DTYPES, param_dtype=fields.DTYPES)
        super().__post_init__()

    @property
    def labelled(self) -> bool:
        """Whether it was made for classes."""
        return self.class_embed_type is not None or self.num_class_embeds is not None

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return ("label",) if self.labelled else ()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Evaluates the network.

        Args:
            x: `[B, H, W, in_channels]`, H and W multiples of `2 ** (blocks - 1)`.
            t: `[B]`, in the schedule's steps (0..T-1).
            condition: "label" int `[B]` where the network has classes, else `{}`. (A
                `class_embed_type` of "timestep" takes numbers `[B]`, "identity" vectors.)
            train: whether dropout is active (rng "dropout").

        Returns:
            `[B, H, W, out_channels]`, float32.

        Raises:
            ValueError: no label for a network with classes, or one for a network without.
        """
        condition = checked(self, condition, x.shape[0], needed=self.reads)
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
        temb = self._time_embedding(t, condition, style)
        if self.center_input_sample:
            x = 2 * x - 1

        x = style.conv(channels[0], "conv_in")(x)
        skips = [x]
        for i, (kind, features) in enumerate(zip(self.down_block_types, channels, strict=True)):
            x, new = DownBlock(
                style,
                features,
                (self._attention(kind, features),) * self.layers_per_block,
                resample=self._resample(kind, i),
                padding=self.downsample_padding,
                name=f"down_blocks_{i}",
            )(x, temb, None, train)
            skips += new
        if self.mid_block_type is not None:
            x = MidBlock(
                style,
                (self._middle_attention() if self.add_attention else None,),
                self.mid_block_scale_factor,
                name="mid_block",
            )(x, temb, None, train)
        layers = self.layers_per_block + 1
        for i, (kind, features) in enumerate(
            zip(self.up_block_types, reversed(channels), strict=True)
        ):
            mine, skips = skips[-layers:], skips[:-layers]
            x = UpBlock(
                style,
                features,
                (self._attention(kind, features),) * layers,
                resample=self._resample(kind, i),
                name=f"up_blocks_{i}",
            )(x, mine, temb, None, train)
        x = nn.silu(style.norm("conv_norm_out")(x))
        return style.conv(self.out_channels, "conv_out")(x).astype(jnp.float32)

    def _time_embedding(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        width = self.time_embedding_dim or 4 * self.block_out_channels[0]
        waves = functools.partial(
            sinusoidal_embedding,
            size=self.block_out_channels[0],
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
        )
        temb = TimestepEmbedding(style, width, name="time_embedding")(waves(t))
        if self.labelled:
            kind, rows = self.class_embed_type, self.num_class_embeds
            temb += label_embedding(
                condition["label"], style, width, kind=kind, rows=rows, waves=waves
            )
        return temb

    def _head(self, features: int) -> int:
        return self.attention_head_dim or features

    def _middle_attention(self) -> AttentionSpec:
        # Where the time embedding scales and shifts, the middle attention has no norm of its own,
        # unless the file gives it a number of groups: so it was trained.
        plain = self.resnet_time_scale_shift == "default"
        groups = self.attn_norm_num_groups or (self.norm_num_groups if plain else None)
        width = self.block_out_channels[-1]
        return SelfSpec(width // self._head(width), groups)

    def _attention(self, kind: str, features: int) -> AttentionSpec:
        if not kind.startswith("Attn"):
            return None
        return SelfSpec(features // self._head(features), self.norm_num_groups)

    def _resample(self, kind: str, i: int) -> str | None:
        if i == len(self.block_out_channels) - 1:
            return None
        if kind.startswith("Resnet"):
            return "resnet"
        if kind == "AttnDownBlock2D":
            return self.downsample_type
        if kind == "AttnUpBlock2D":
            return self.upsample_type
        return "conv"
