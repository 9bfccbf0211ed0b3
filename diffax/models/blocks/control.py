"""What every ControlNet has (Zhang et al. 2023): a hint's way in, and the zero convolutions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.style import Style

_ZEROS = nn.initializers.zeros


class Residuals(NamedTuple):
    """What a ControlNet adds to a U-Net.

    Attributes:
        down: `[B, h, w, C]` for each skip, the input convolution's first.
        mid: `[B, h, w, C]` for the middle block's output.
    """

    down: tuple[jax.Array, ...]
    mid: jax.Array


class HintEmbedding(nn.Module):
    """Convolutions from an image down to the latents' size (Zhang et al. 2023, section 3.2).

    Attributes:
        style: see `Style`.
        widths: channels of the convolutions; every one but the first halves a side.
        features: channels of the answer, which is zero at first.
    """

    style: Style
    widths: tuple[int, ...]
    features: int

    @nn.compact
    def __call__(self, hint: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to `[B, h, w, features]`."""
        h = nn.silu(self.style.conv(self.widths[0], "conv_in")(hint))
        for i, (before, after) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            h = nn.silu(self.style.conv(before, f"blocks_{2 * i}")(h))
            down = self.style.conv(after, f"blocks_{2 * i + 1}", stride=2, padding=((1, 1), (1, 1)))
            h = nn.silu(down(h))
        return self.style.conv(self.features, "conv_out", kernel_init=_ZEROS)(h)


def check_hint(hint: jax.Array, size: Sequence[int], channels: int) -> None:
    """Refuses a control image that is not `[B, *size, channels]`.

    Raises:
        ValueError: in one line, with the remedy.
    """
    expected = (*size, channels)
    if hint.shape[1:] != expected:
        raise ValueError(
            f"expected a control image of shape {list(expected)}, got {list(hint.shape[1:])}: "
            "resize it to the samples' size"
        )


def zero_convolutions(
    style: Style, skips: Sequence[jax.Array], middle: jax.Array, pooled: bool = False
) -> Residuals:
    """A 1x1 convolution of each, zero at first (section 3.1); inside a compact method.

    Args:
        style: see `Style`.
        skips: the encoder's, `[B, h, w, C]` each.
        middle: the middle block's output.
        pooled: whether each answer is averaged over the image.
    """

    def zero(h: jax.Array, name: str) -> jax.Array:
        out = style.conv(h.shape[-1], name, size=1, kernel_init=_ZEROS)(h)
        return jnp.mean(out, axis=(1, 2), keepdims=True, dtype=jnp.float32) if pooled else out

    down = tuple(zero(skip, f"controlnet_down_blocks_{i}") for i, skip in enumerate(skips))
    return Residuals(down, zero(middle, "controlnet_mid_block"))
