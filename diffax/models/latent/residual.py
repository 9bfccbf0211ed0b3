"""Residual block and resampling of the published U-Nets and autoencoders."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.resampling import average_pool, upsample_nearest


@dataclasses.dataclass(frozen=True)
class Style:
    """What all blocks of one network share.

    Attributes:
        groups: groups of each GroupNorm.
        eps: epsilon of the residual blocks' GroupNorms.
        dropout: rate in the residual blocks while training.
        scale_shift: the time embedding scales and shifts after the second norm (iDDPM) instead of
            being added before it.
        query_chunk: see `diffax.models.latent.attention.attend`.
        remat: recompute each residual and attention block in the backward pass, to save memory.
        dtype: of the computation; norms, softmax and sums are float32 inside.
        param_dtype: of the parameters.
    """

    groups: int = 32
    eps: float = 1e-5
    dropout: float = 0.0
    scale_shift: bool = False
    query_chunk: int | None = None
    remat: bool = False
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @property
    def dtypes(self) -> dict:
        """`dtype` and `param_dtype` as keyword arguments of a Flax layer."""
        return dict(dtype=self.dtype, param_dtype=self.param_dtype)

    def norm(self, name: str, eps: float | None = None) -> nn.GroupNorm:
        """A GroupNorm with float32 statistics in two passes (no cancellation)."""
        return nn.GroupNorm(
            self.groups,
            epsilon=self.eps if eps is None else eps,
            use_fast_variance=False,
            name=name,
            **self.dtypes,
        )

    def conv(self, features: int, name: str, size: int = 3) -> nn.Conv:
        """A stride-1 convolution that keeps height and width."""
        return nn.Conv(features, (size, size), padding=size // 2, name=name, **self.dtypes)


class Downsample(nn.Module):
    """A 3x3 convolution of stride 2; padding 0 means (0, 1) on both axes, as the files mean it."""

    style: Style
    padding: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to half the height and width."""
        pad = (0, 1) if self.padding == 0 else (self.padding, self.padding)
        return nn.Conv(
            x.shape[-1], (3, 3), strides=2, padding=(pad, pad), name="conv", **self.style.dtypes
        )(x)


class Upsample(nn.Module):
    """Nearest-neighbour doubling (to `size` where given) and a 3x3 convolution."""

    style: Style

    @nn.compact
    def __call__(self, x: jax.Array, size: tuple[int, int] | None = None) -> jax.Array:
        """`[B, H, W, C]` to twice the height and width, cropped to `size`."""
        x = upsample_nearest(x)
        if size is not None:
            x = x[:, : size[0], : size[1]]
        return self.style.conv(x.shape[-1], "conv")(x)


class ResnetBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the time embedding between, and a residual sum.

    Attributes:
        features: output channels; a 1x1 convolution maps the shortcut where they change.
        rescale: the residual sum is divided by this.
        resample: "down" or "up" halves or doubles the picture inside the block.
    """

    style: Style
    features: int
    rescale: float = 1.0
    resample: str | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, temb: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """`[B, H, W, C]` and the time embedding `[B, D]` to `[B, H', W', features]`."""
        style = self.style
        h = nn.silu(style.norm("norm1")(x))
        if self.resample == "down":
            x, h = average_pool(x), average_pool(h)
        elif self.resample == "up":
            x, h = upsample_nearest(x), upsample_nearest(h)
        h = style.conv(self.features, "conv1")(h)
        if temb is not None:
            width = 2 * self.features if style.scale_shift else self.features
            temb = nn.Dense(width, name="time_emb_proj", **style.dtypes)(nn.silu(temb))
            temb = temb[:, None, None, :]
        if temb is not None and style.scale_shift:
            scale, shift = jnp.split(temb, 2, axis=-1)
            h = style.norm("norm2")(h) * (1 + scale) + shift
        else:
            h = style.norm("norm2")(h if temb is None else h + temb)
        h = nn.Dropout(style.dropout, deterministic=not train)(nn.silu(h))
        h = style.conv(self.features, "conv2")(h)
        if x.shape[-1] != self.features:
            x = style.conv(self.features, "conv_shortcut", size=1)(x)
        return (x + h) / self.rescale
