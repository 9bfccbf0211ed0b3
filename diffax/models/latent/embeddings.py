"""The learned part of the published networks' time and size embeddings."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


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
