"""Embeddings: numbers (times, sizes, guidance scales) and labels become vectors.

Sines and cosines are float32 always: in half precision they could not tell t = 998 from t = 999.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from diffax.models.blocks.style import Style


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
    frequencies = max_period ** -(np.arange(half) / (half - freq_shift))
    angles = t.astype(jnp.float32)[:, None] * frequencies.astype(np.float32)[None, :]
    waves = [jnp.sin(angles), jnp.cos(angles)]
    embedding = jnp.concatenate(waves[::-1] if flip_sin_to_cos else waves, axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, size % 2)))


def grid_embedding(height: int, width: int, size: int) -> jax.Array:
    """Where each cell of a grid lies: the sinusoidal embeddings of its column and its row.

    The fixed positions of vision transformers (He et al. 2022, Peebles & Xie 2023).

    Args:
      height: rows.
      width: columns.
      size: length of an embedding, a multiple of 4, at least 8; a half each for column and row.

    Returns:
      `[height * width, size]`, float32, row by row.

    Raises:
      ValueError: another size.

    Example:
      >>> grid_embedding(2, 3, 8).shape
      (6, 8)
    """
    if size < 8 or size % 4:
        raise ValueError(f"grid_embedding: expected a multiple of 4 from 8 on as size, got {size}")
    rows, columns = jnp.divmod(jnp.arange(height * width), width)
    halves = [sinusoidal_embedding(place, size // 2, freq_shift=0) for place in (columns, rows)]
    return jnp.concatenate(halves, axis=-1)


def guidance_embedding(scale: jax.Array, size: int) -> jax.Array:
    """The guidance scale that a distilled network is told, in its `condition["guidance"]`.

    Meng et al. 2023, "On distillation of guided diffusion models", section 3.1; in the form of the
    published latent consistency models (Luo et al. 2023): the sinusoidal embedding of 1000 w.

    Args:
      scale: `[B]`, w; the published pipelines count from no guidance, so that a scale of 8 of
        `uncond + scale (cond - uncond)` is told as w = 7.
      size: length of the embedding, the network's `time_cond_proj_dim`; at least 4.

    Returns:
      `[B, size]`, float32.

    Example:
      >>> import jax.numpy as jnp
      >>> guidance_embedding(jnp.array([7.0]), 256).shape
      (1, 256)
    """
    return sinusoidal_embedding(1000.0 * scale.astype(jnp.float32), size)


def pixel_waves(x: jax.Array, powers: tuple[int, ...]) -> jax.Array:
    """An image beside fast waves of its values (Kingma et al. 2021, appendix C).

    Args:
      x: `[..., C]`, in [-1, 1].
      powers: n of `sin(2^n pi x)` and `cos(2^n pi x)`.

    Returns:
      `[..., C (1 + 2 len(powers))]`: x, all sines, all cosines; float32 where there are waves.
    """
    if not powers:
        return x
    x = x.astype(jnp.float32)
    angles = [2.0**n * jnp.pi * x for n in powers]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)


class TimestepEmbedding(nn.Module):
    """Two linear maps with SiLU between; where there is a condition, it is added at the input.

    Attributes:
        style: see `Style`.
        features: width of both maps.
        condition_size: K, None where the network takes no such condition (guidance embedding).
    """

    style: Style
    features: int
    condition_size: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
        """`[B, D]`, and a condition `[B, K]`, to `[B, features]`."""
        style = self.style
        x = x.astype(style.dtype)
        if self.condition_size is not None:
            # Without a condition the map (it has no bias) contributes nothing.
            if condition is None:
                condition = jnp.zeros((x.shape[0], self.condition_size), x.dtype)
            x = x + style.dense(x.shape[-1], "cond_proj", use_bias=False)(condition)
        h = nn.silu(style.dense(self.features, "linear_1")(x))
        return style.dense(self.features, "linear_2")(h)


def label_embedding(
    label: jax.Array,
    style: Style,
    features: int,
    *,
    kind: str | None,
    rows: int | None,
    waves: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """The vector `[B, features]` of a label, in one of the published networks' ways.

    To be called inside a network, whose `class_embedding` its parameters are.

    Args:
        label: int `[B]`; with kind "projection", "simple_projection" or "identity" `[B, K]`.
        style: see `Style`.
        features: width of the time embedding that it is added to.
        kind: None for a table, "timestep" for the embedding of a time, "projection" for a
            `TimestepEmbedding` and "simple_projection" for a linear map of K numbers, "identity"
            for the numbers themselves, K = features.
        rows: of the table.
        waves: from numbers `[B]` to their sines and cosines.
    """
    match kind:
        case None:
            if rows is None:
                raise ValueError("a table of classes needs its number of rows")
            return style.embed(rows, features, "class_embedding")(label)
        case "identity":
            return label.astype(style.dtype)
        case "simple_projection":
            return style.dense(features, "class_embedding")(label)
        case "timestep":
            label = waves(label)
    return TimestepEmbedding(style, features, name="class_embedding")(label)


def class_embedding(label: jax.Array, style: Style, rows: int, features: int) -> jax.Array:
    """A label's row of a table `[B, features]`; the null label, `rows`, adds nothing.

    To be called inside a network, whose `class_embedding` the table is.

    Args:
        label: int `[B]`, 0 ... rows.
        style: see `Style`.
        rows: number of classes.
        features: width of the time embedding that it is added to.
    """
    table = style.embed(rows, features, "class_embedding")
    row = table(jnp.minimum(label, rows - 1))
    return jnp.where((label < rows)[:, None], row, jnp.zeros_like(row))


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


def rotated(x: jax.Array, base: float = 10_000.0) -> jax.Array:
    """Queries or keys turned by their places (rotary embedding, Su et al. 2021, eq. 34).

    The product of two turned vectors depends on how far apart they are, not on where.

    Args:
        x: `[B, N, heads, D]`, D even; entry i makes a pair with entry i + D / 2.
        base: of the wave lengths, 2 pi to 2 pi `base` places.

    Returns:
        Like `x`.

    Example:
        >>> rotated(jnp.ones((1, 3, 1, 2)))[0, 0].tolist()
        [[1.0, 1.0]]
    """
    half = x.shape[-1] // 2
    speed = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = jnp.outer(jnp.arange(x.shape[1], dtype=jnp.float32), speed)[None, :, None, :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
    return turned.astype(x.dtype)
