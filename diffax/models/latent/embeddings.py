"""Time and size embeddings of the published networks."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoidal(
    t: jax.Array, dim: int, *, flip_sin_to_cos: bool, freq_shift: float, max_period: float = 1e4
) -> jax.Array:
    """Sines and cosines of `t` at geometrically falling frequencies (Vaswani et al. 2017, 3.5).

    Args:
        t: times `[B]` (or any numbers to embed), float.
        dim: number of features; an odd one is padded with a zero.
        flip_sin_to_cos: cosines first (SD, iDDPM) instead of sines first (DDPM).
        freq_shift: frequencies are `max_period ** (-i / (dim // 2 - freq_shift))`.
        max_period: the longest period, in units of 2 pi.

    Returns:
        `[B, dim]` float32.
    """
    half = dim // 2
    exponent = -math.log(max_period) * jnp.arange(half, dtype=jnp.float32) / (half - freq_shift)
    angles = jnp.asarray(t, jnp.float32)[:, None] * jnp.exp(exponent)[None, :]
    parts = [jnp.sin(angles), jnp.cos(angles)]
    if flip_sin_to_cos:
        parts.reverse()
    return jnp.pad(jnp.concatenate(parts, axis=-1), ((0, 0), (0, dim % 2)))


class TimestepEmbedding(nn.Module):
    """Two linear layers with SiLU between; `condition` `[B, K]` is mapped and added at the input.

    Attributes:
        features: width of both layers.
        condition_dim: K, None where the network takes no such condition (guidance embedding).
    """

    features: int
    condition_dim: int | None = None
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
        """`[B, D]` to `[B, features]`."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        if self.condition_dim is not None:
            # Without a condition the map (it has no bias) contributes nothing.
            if condition is None:
                condition = jnp.zeros((x.shape[0], self.condition_dim), x.dtype)
            x = x + nn.Dense(x.shape[-1], use_bias=False, name="cond_proj", **dtypes)(condition)
        h = nn.silu(nn.Dense(self.features, name="linear_1", **dtypes)(x))
        return nn.Dense(self.features, name="linear_2", **dtypes)(h)
