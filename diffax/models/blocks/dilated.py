"""Gated residual layers with growing dilation, as in WaveNet and DiffWave."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.style import Style


class DilatedLayer(nn.Module):
    """A gated layer of DiffWave (Kong et al. 2021, figure 2).

    `tanh(a) sigmoid(b)` of a convolution over three samples, `dilation` apart, and of what is heard
    beside them; half of the answer goes on, half of it is given out.

    Attributes:
        style: see `Style`.
        dilation: samples between the convolution's taps.
    """

    style: Style
    dilation: int

    @nn.compact
    def __call__(
        self, x: jax.Array, embedding: jax.Array, beside: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """A layer's answer.

        Args:
            x: `[B, 1, L, C]`.
            embedding: of the time, `[B, E]`.
            beside: a local condition, `[B, 1, L, D]`.

        Returns:
            What the next layer hears, and what is given out, `[B, 1, L, C]` each.
        """
        style, channels = self.style, x.shape[-1]
        told = style.dense(channels, "time_emb_proj")(nn.silu(embedding))[:, None, None, :]
        h = style.dense(2 * channels, "conv")(taps(x + told, self.dilation))
        if beside is not None:
            h = h + style.dense(2 * channels, "beside")(beside)
        wave, gate = jnp.split(h, 2, axis=-1)
        h = style.dense(2 * channels, "out")(jnp.tanh(wave) * nn.sigmoid(gate))
        on, out = jnp.split(h, 2, axis=-1)
        return (x + on) / jnp.sqrt(jnp.asarray(2.0, x.dtype)), out


def taps(x: jax.Array, dilation: int) -> jax.Array:
    """Each sample with those `dilation` before and after it, silence beyond the ends.

    A linear map of it is a dilated convolution, whose gradients are matrix products, too.

    Args:
        x: `[B, 1, L, C]`.
        dilation: in samples.

    Returns:
        `[B, 1, L, 3 C]`.
    """
    length = x.shape[2]
    padded = jnp.pad(x, ((0, 0), (0, 0), (dilation, dilation), (0, 0)))
    parts = [padded[:, :, i * dilation : i * dilation + length] for i in range(3)]
    return jnp.concatenate(parts, axis=-1)
