"""The unconditional and class-conditional published U-Net, `UNet2DModel` (google/ddpm-*, LDM)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.embeddings import sinusoidal_embedding
from diffax.models.latent.blocks import AttentionSpec, DownBlock, MidBlock, SelfSpec, UpBlock
from diffax.models.latent.embeddings import TimestepEmbedding
from diffax.models.latent.residual import Style

DOWN_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D")
UP_BLOCKS = ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D")


class UNet2DModel(nn.Module):
    """U-Net of DDPM (Ho et al. 2020, appendix B) in the form of the published checkpoints.

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours (see
    `diffax.models.latent.residual.Style`). `attention_head_dim` is the width of a head; None is
    one head of full width.

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
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, condition: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Evaluates the network.

        Args:
            x: `[B, H, W, in_channels]`, H and W multiples of `2 ** (blocks - 1)`.
            t: `[B]`, in the schedule's steps (0..T-1).
            condition: int labels `[B]` where the model has class embeddings, else None.
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
            # A given number of groups is for the middle attention; else it has the norms' number,
            # and only with plainly added time embeddings (`_check` refuses the other case).
            groups = self.attn_norm_num_groups or self.norm_num_groups
            spec = SelfSpec(channels[-1] // self._head(channels[-1]), groups)
            x = MidBlock(
                style,
                (spec if self.add_attention else None,),
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

    def _time_embedding(self, t, condition, style) -> jax.Array:
        channels = self.block_out_channels[0]
        width = self.time_embedding_dim or 4 * channels
        wave = dict(flip_sin_to_cos=self.flip_sin_to_cos, freq_shift=self.freq_shift)
        features = sinusoidal_embedding(t, channels, **wave).astype(self.dtype)
        temb = TimestepEmbedding(width, name="time_embedding", **style.dtypes)(features)
        labelled = self.class_embed_type is not None or self.num_class_embeds is not None
        if labelled != (condition is not None):
            raise ValueError(
                "this network is class-conditional: expected condition = labels [B], got None"
                if labelled
                else "this network has no classes: expected condition = None, got labels"
            )
        if self.class_embed_type == "timestep":
            features = sinusoidal_embedding(condition, channels, **wave).astype(self.dtype)
            temb += TimestepEmbedding(width, name="class_embedding", **style.dtypes)(features)
        elif self.class_embed_type == "identity":
            temb += condition.astype(self.dtype)
        elif labelled:
            temb += nn.Embed(self.num_class_embeds, width, name="class_embedding", **style.dtypes)(
                condition
            )
        return temb

    def _head(self, features: int) -> int:
        return self.attention_head_dim or features

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
