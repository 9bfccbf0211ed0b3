"""Group normalization, computed in float32 whatever the dtype around it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def group_count(channels: int, largest: int = 32) -> int:
    """The largest number of groups that divides `channels`, up to `largest` and channels / 4.

    At least four channels a group, as in DDPM's narrowest level. With one channel a group a norm
    would undo any constant added to a channel, and a time embedding is just that: the network
    would not know the time.
    """
    bound = min(largest, max(1, channels // 4))
    return next(groups for groups in range(bound, 0, -1) if channels % groups == 0)


class GroupNorm(nn.Module):
    """Group normalization (Wu & He 2018) with `nn.GroupNorm`'s parameters: `scale` and `bias`.

    Attributes:
      num_groups: groups at most; fewer where there are few channels, see `group_count`.
      epsilon: added to the variance; 1e-6 in DDPM.
      dtype: of the result; the statistics and parameters are float32.
    """

    num_groups: int = 32
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise `[B, ..., C]` over each group's channels and all positions."""
        channels = x.shape[-1]
        groups = group_count(channels, self.num_groups)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        positions = x.astype(jnp.float32).reshape(x.shape[0], -1, channels)

        def group_mean(values: jax.Array) -> jax.Array:
            """Mean of `[B, N, C]` over N and each group's channels, for every channel `[B, 1, C]`.

            Positions first, groups after: the long sum runs over whole rows of channels.
            """
            per_channel = values.mean(axis=1)
            per_group = per_channel.reshape(-1, groups, channels // groups).mean(-1)
            return jnp.repeat(per_group, channels // groups, axis=-1)[:, None, :]

        # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large.
        centred = positions - group_mean(positions)
        gain = jax.lax.rsqrt(group_mean(jnp.square(centred)) + self.epsilon) * scale[None, None, :]
        return (centred * gain + bias[None, None, :]).reshape(x.shape).astype(self.dtype)
