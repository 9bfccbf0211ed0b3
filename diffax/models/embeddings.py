"""Embeddings of time: a number becomes a vector of sines and cosines. Always float32.

A half-precision time cannot tell t = 998 from t = 999, so nothing here takes a dtype.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoidal_embedding(
    t: jax.Array,
    size: int,
    *,
    max_period: float = 10_000.0,
    flip_sin_to_cos: bool = False,
    freq_shift: float = 1.0,
) -> jax.Array:
    """Sines and cosines of t at geometrically spaced frequencies from 1 to 1 / max_period.

    The transformer's position embedding (Vaswani et al. 2017, section 3.5) as DDPM uses it
    (Ho et al. 2020, appendix B). The defaults are DDPM's; `flip_sin_to_cos=True, freq_shift=0`
    is that of iDDPM and Stable Diffusion.

    Args:
      t: `[B]`, times, made for the range 0 ... 1000; any real number is allowed.
      size: length of the embedding, at least 4. An odd one ends in a zero.
      max_period: the longest period is 2 pi max_period.
      flip_sin_to_cos: cosines first instead of sines first.
      freq_shift: the i-th of `half` frequencies is max_period ** (-i / (half - freq_shift)).

    Returns:
      `[B, size]`, float32.

    Raises:
      ValueError: `size` below 4 or `t` not of rank 1.

    Example:
      >>> import jax.numpy as jnp
      >>> sinusoidal_embedding(jnp.array([0.0, 10.0]), 8).shape
      (2, 8)
    """
    if size < 4:
        raise ValueError(f"sinusoidal_embedding: expected size >= 4, got {size}; widen the model")
    if t.ndim != 1:
        raise ValueError(f"sinusoidal_embedding: expected t of shape [B], got {t.shape}")
    half = size // 2
    exponents = jnp.arange(half, dtype=jnp.float32) / (half - freq_shift)
    frequencies = jnp.exp(-math.log(max_period) * exponents)
    angles = t.astype(jnp.float32)[:, None] * frequencies[None, :]
    waves = [jnp.sin(angles), jnp.cos(angles)]
    embedding = jnp.concatenate(waves[::-1] if flip_sin_to_cos else waves, axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, size % 2)))


class FourierEmbedding(nn.Module):
    """Sines and cosines of t at random frequencies (Tancik et al. 2020; Song et al. 2021).

    Made for times of order one, such as [0, 1] or a quarter of log sigma.

    Attributes:
      size: length of the embedding, even.
      scale: standard deviation of the frequencies, in periods per unit of t.
      learned: train the frequencies; else they stay as drawn (they are saved with the parameters
        either way, and no gradient reaches them).
    """

    size: int
    scale: float = 16.0
    learned: bool = False

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        """Embed times `[B]`; returns `[B, size]`, float32."""
        if self.size % 2:
            raise ValueError(f"FourierEmbedding: expected an even size, got {self.size}")
        if t.ndim != 1:
            raise ValueError(f"FourierEmbedding: expected t of shape [B], got {t.shape}")
        init = nn.initializers.normal(self.scale)
        frequencies = self.param("frequencies", init, (self.size // 2,), jnp.float32)
        if not self.learned:
            frequencies = jax.lax.stop_gradient(frequencies)
        angles = 2 * jnp.pi * t.astype(jnp.float32)[:, None] * frequencies[None, :]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
