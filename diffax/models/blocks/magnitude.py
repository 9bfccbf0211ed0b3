"""Layers that keep the magnitude of what goes through them (Karras et al. 2024, EDM2).

Every weight is normalized where it is used, so that its size means nothing and only its direction
is learned; sums, joins and activations are scaled to keep unit variance. There are no biases and no
norms with parameters.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.attention import attend
from diffax.models.blocks.convolution import conv2d
from diffax.models.blocks.resampling import filter_down, filter_up


def normalized(x: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """`x` over its root mean square along some axes (eq. 66); measured in float32."""
    rms = jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32)), axis=axis, keepdims=True))
    return x / (rms + 1e-4).astype(x.dtype)


def mp_silu(x: jax.Array) -> jax.Array:
    """SiLU of a standard normal, with unit variance (eq. 81)."""
    return nn.silu(x) / 0.596


def mp_sum(a: jax.Array, b: jax.Array, balance: float) -> jax.Array:
    """`(1 - balance) a + balance b`, with unit variance (eq. 88)."""
    return (a + balance * (b - a)) / math.hypot(1 - balance, balance)


def mp_join(a: jax.Array, b: jax.Array, balance: float) -> jax.Array:
    """Both beside each other, with unit variance and contributions by `balance` (eq. 103)."""
    scale = math.sqrt(a.shape[-1] + b.shape[-1]) / math.hypot(1 - balance, balance)
    left = scale * (1 - balance) / math.sqrt(a.shape[-1])
    right = scale * balance / math.sqrt(b.shape[-1])
    return jnp.concatenate([left * a, right * b], axis=-1)


class MPFourier(nn.Module):
    """Cosines of t at random frequencies and phases, with unit variance (eq. 75).

    Attributes:
        size: length of the embedding. Both tables stay as drawn: no gradient reaches them.
    """

    size: int

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        """Times `[B]` to `[B, size]`, float32."""
        turns = nn.initializers.normal(2 * math.pi)
        frequencies = self.param("frequencies", turns, (self.size,), jnp.float32)
        around = nn.initializers.uniform(2 * math.pi)
        phases = self.param("phases", around, (self.size,), jnp.float32)
        frequencies, phases = jax.lax.stop_gradient((frequencies, phases))
        angles = t.astype(jnp.float32)[:, None] * frequencies[None, :] + phases[None, :]
        return math.sqrt(2) * jnp.cos(angles)


class MPLinear(nn.Module):
    """A linear map or a convolution, its weights normalized for each output (eq. 47).

    Attributes:
        features: output channels.
        side: pixels on each side of the kernel; None for a map of the last axis alone.
        dtype: of the computation; the weights are normalized in float32.
    """

    features: int
    side: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, gain: jax.Array | float = 1.0) -> jax.Array:
        """`[..., C]` to `[..., features]`, times `gain`."""
        shape = (x.shape[-1], self.features)
        shape = shape if self.side is None else (self.side, self.side, *shape)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        fan_in = math.prod(shape[:-1])
        kernel = normalized(kernel, tuple(range(len(shape) - 1))) * (gain / math.sqrt(fan_in))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return x @ kernel if self.side is None else conv2d(x, kernel)


class MPBlock(nn.Module):
    """The residual block of EDM2, with attention where it has heads (figure 21).

    Attributes:
        features: output channels.
        encoder: on the way down pixels are normalized and the shortcut is mapped first; on the way
            up it is mapped last.
        resample: "down" or "up" halves or doubles the image first; None keeps its size.
        heads: attention heads; 0 for none.
        dropout: probability in the branch, while training.
        balance: share of each branch in its sum.
        dtype: of the computation.
    """

    features: int
    encoder: bool
    resample: str | None = None
    heads: int = 0
    dropout: float = 0.0
    balance: float = 0.3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool = False) -> jax.Array:
        """`[B, H, W, C]` and the embedding `[B, E]` to `[B, H', W', features]`."""
        if self.resample is not None:
            x = {"down": filter_down, "up": filter_up}[self.resample](x)
        mapped = x.shape[-1] != self.features
        if self.encoder:
            x = self._linear("shortcut", 1)(x) if mapped else x
            x = normalized(x)

        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        scale = 1 + self._linear("embedding", None)(embedding, gain)[:, None, None, :]
        h = self._linear("conv1", 3)(mp_silu(x))
        h = mp_silu(h * scale)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = self._linear("conv2", 3)(h)

        if mapped and not self.encoder:
            x = self._linear("shortcut", 1)(x)
        x = mp_sum(x, h, self.balance)
        if self.heads:
            x = mp_sum(x, self._attended(x), self.balance)
        return jnp.clip(x, -256, 256)  # for half precision

    def _linear(self, name: str, side: int | None) -> MPLinear:
        return MPLinear(self.features, side, self.dtype, name=name)

    def _attended(self, x: jax.Array) -> jax.Array:
        """Attention of every pixel to every other, with queries, keys and values normalized."""
        shape = (x.shape[0], -1, self.heads, self.features // self.heads)
        query, key, value = (
            normalized(self._linear(name, 1)(x).reshape(shape)) for name in ("to_q", "to_k", "to_v")
        )
        return self._linear("to_out", 1)(attend(query, key, value).reshape(x.shape))
