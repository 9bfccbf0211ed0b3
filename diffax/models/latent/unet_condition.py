"""The text-conditional U-Net of Stable Diffusion 1, 2 and XL, `UNet2DConditionModel`."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.embeddings import sinusoidal_embedding
from diffax.models.latent.blocks import AttentionSpec, CrossSpec, DownBlock, MidBlock, UpBlock
from diffax.models.latent.embeddings import TimestepEmbedding
from diffax.models.latent.residual import Style

DOWN_BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D")
UP_BLOCKS = ("UpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D")


class UNet2DConditionModel(nn.Module):
    """U-Net with cross-attention to a text (Rombach et al. 2022; XL: Podell et al. 2023).

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours (see
    `diffax.models.latent.residual.Style`). `attention_head_dim` means the *number of heads* here,
    as in all published files.

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
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: dict[str, jax.Array],
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
                "guidance" `[B, time_cond_proj_dim]`, the guidance embedding of distilled models.
            down_residuals: added to the skips, input convolution first (ControlNet).
            mid_residual: added to the middle block's output (ControlNet).
            train: whether dropout is active (rng "dropout").

        Returns:
            `[B, H, W, out_channels]`, float32.
        """
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

        x = style.conv(channels[0], "conv_in", self.conv_in_kernel)(x)
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
            )(x, mine, temb, context, train, skips[-1].shape[1:3] if skips else None)
        x = nn.silu(style.norm("conv_norm_out")(x))
        out = style.conv(self.out_channels, "conv_out", self.conv_out_kernel)(x)
        return out.astype(jnp.float32)

    def _time_embedding(self, t, condition, style) -> jax.Array:
        channels = self.block_out_channels[0]
        width = self.time_embedding_dim or 4 * channels
        wave = dict(flip_sin_to_cos=self.flip_sin_to_cos, freq_shift=self.freq_shift)

        def embed(features, name):
            return TimestepEmbedding(width, name=name, **style.dtypes)(features.astype(self.dtype))

        temb = TimestepEmbedding(
            width, self.time_cond_proj_dim, name="time_embedding", **style.dtypes
        )(sinusoidal_embedding(t, channels, **wave).astype(self.dtype), condition.get("guidance"))

        if self.class_embed_type == "timestep":
            temb += embed(
                sinusoidal_embedding(condition["label"], channels, **wave), "class_embedding"
            )
        elif self.class_embed_type == "projection":
            temb += embed(condition["label"], "class_embedding")
        elif self.class_embed_type == "simple_projection":
            temb += nn.Dense(width, name="class_embedding", **style.dtypes)(condition["label"])
        elif self.class_embed_type == "identity":
            temb += condition["label"].astype(self.dtype)
        elif self.num_class_embeds is not None:
            temb += nn.Embed(self.num_class_embeds, width, name="class_embedding", **style.dtypes)(
                condition["label"]
            )

        if self.addition_embed_type == "text_time":
            ids = condition["size_ids"]
            sizes = sinusoidal_embedding(ids.reshape(-1), self.addition_time_embed_dim, **wave)
            sizes = sizes.reshape(ids.shape[0], -1)
            pooled = condition["pooled"].astype(jnp.float32)
            temb += embed(jnp.concatenate([pooled, sizes], axis=-1), "add_embedding")
        return temb

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


def _per_block(value: Any, count: int) -> tuple:
    """`value` repeated, or itself where it is already one for each."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count


def _resample(kind: str, i: int, count: int) -> str | None:
    if i == count - 1:
        return None
    return "resnet" if kind.startswith("Resnet") else "conv"
