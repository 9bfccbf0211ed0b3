"""The residual block of all U-Nets and autoencoders."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.fusion import written
from diffax.models.blocks.resampling import filter_down, filter_up
from diffax.models.blocks.style import Style


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the time embedding between, and a residual sum.

    Ho et al. 2020, appendix B; with `style.scale_shift` Nichol & Dhariwal 2021, section 3.4.

    Attributes:
        style: see `Style`.
        features: output channels; a 1 x 1 convolution maps the shortcut where they change (and
            where `style.map_resampled` asks for one).
        rescale: the residual sum is divided by this.
        resample: "down" or "up" halves or doubles the image inside the block, through the filter
            `style.taps`; None keeps its size.
    """

    style: Style
    features: int
    rescale: float = 1.0
    resample: str | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, temb: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """`[B, H, W, C]` and the time embedding `[B, E]` to `[B, H', W', features]`."""
        style = self.style
        x = written(x)
        h = nn.silu(style.norm("norm1")(x))
        if self.resample == "down":
            x, h = filter_down(x, style.taps), filter_down(h, style.taps)
        elif self.resample == "up":
            x, h = filter_up(x, style.taps), filter_up(h, style.taps)
        h = style.conv(self.features, "conv1")(h)
        if temb is not None:
            width = 2 * self.features if style.scale_shift else self.features
            temb = style.dense(width, "time_emb_proj")(nn.silu(temb))[:, None, None, :]
        if temb is not None and style.scale_shift:
            scale, shift = jnp.split(temb, 2, axis=-1)
            h = style.norm("norm2")(h) * (1 + scale) + shift
        else:
            h = style.norm("norm2")(written(h if temb is None else h + temb))
        h = nn.Dropout(style.dropout, deterministic=not train)(nn.silu(h))
        h = style.conv(self.features, "conv2", kernel_init=style.out_init)(h)
        mapped = style.map_resampled and self.resample is not None
        if x.shape[-1] != self.features or mapped:
            x = style.conv(self.features, "conv_shortcut", size=1)(x)
        return added(x, h, self.rescale)


def added(x: jax.Array, branch: jax.Array, rescale: float = 1.0) -> jax.Array:
    """The residual sum `(x + branch) / rescale`."""
    return x + branch if rescale == 1 else (x + branch) / rescale
