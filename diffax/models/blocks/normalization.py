"""Group and layer normalization, computed in float32 whatever the dtype around it."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.param import param

# Layer normalization (Ba et al. 2016) over the channels. Linen's own takes its statistics in
# float32; in two passes, for E[x^2] - E[x]^2 would cancel where the mean is large.
LayerNorm = functools.partial(nn.LayerNorm, use_fast_variance=False)


def group_count(channels: int, largest: int = 32) -> int:
    """The largest number of groups that divides `channels`, up to `largest` and channels / 4.

    At least four channels a group, as in DDPM's narrowest level. With one channel a group a norm
    would undo any constant added to a channel, and a time embedding is just that: the network
    would not know the time.

    Example:
      >>> group_count(128), group_count(48), group_count(3)
      (32, 12, 1)
    """
    bound = min(largest, max(1, channels // 4))
    return next(groups for groups in range(bound, 0, -1) if channels % groups == 0)


class GroupNorm(nn.Module):
    """Group normalization (Wu & He 2018) with `nn.GroupNorm`'s parameters: `scale` and `bias`.

    Attributes:
      num_groups: groups; None for as many as the channels allow, see `group_count`.
      epsilon: added to the variance; 1e-6 in DDPM.
      dtype: of the result; the statistics are float32.
      param_dtype: of the parameters.
    """

    num_groups: int | None = None
    epsilon: float = 1e-6
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise `[B, ..., C]` over each group's channels and all positions."""
        channels = x.shape[-1]
        groups = group_count(channels) if self.num_groups is None else self.num_groups
        if channels % groups:
            raise ValueError(
                f"GroupNorm: expected channels divisible by the number of groups, got {channels} "
                f"channels and {groups} groups; change the network's widths or its groups"
            )
        scale = param(self, "scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = param(self, "bias", nn.initializers.zeros, (channels,), self.param_dtype)
        return _normalized(x, scale, bias, groups, self.epsilon).astype(self.dtype)


@functools.partial(jax.jit, static_argnums=(3, 4))  # traced once for layers of the same shapes
def _normalized(
    x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, epsilon: float
) -> jax.Array:
    scale, bias = scale.astype(jnp.float32), bias.astype(jnp.float32)
    channels, positions = x.shape[-1], tuple(range(1, x.ndim - 1))
    each = (x.shape[0],) + (1,) * len(positions) + (channels,)
    x = x.astype(jnp.float32)

    def group_mean(values: jax.Array) -> jax.Array:
        """Mean of `[B, ..., C]` over positions and a group's channels, for each channel.

        Positions first, groups after: the long sum runs over whole rows of channels.
        """
        per_channel = values.mean(positions)
        per_group = per_channel.reshape(x.shape[0], groups, channels // groups).mean(-1)
        return jnp.repeat(per_group, channels // groups, axis=-1).reshape(each)

    # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large.
    centred = x - group_mean(x)
    gain = jax.lax.rsqrt(group_mean(jnp.square(centred)) + epsilon) * scale.reshape(1, *each[1:])
    return centred * gain + bias.reshape(1, *each[1:])


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe & Szegedy 2015) as it is after training: by running statistics.

    For networks that are only read. `running_mean` and `running_var` are parameters here, beside
    `scale` and `bias`; nothing is folded into the convolution before.

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise `[B, ..., C]` channel by channel, in float32."""
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        shape = (x.shape[-1],)
        scale = self.param("scale", ones, shape, jnp.float32)
        bias = self.param("bias", zeros, shape, jnp.float32)
        mean = self.param("running_mean", zeros, shape, jnp.float32)
        variance = self.param("running_var", ones, shape, jnp.float32)
        gain = scale * jax.lax.rsqrt(variance + self.epsilon)
        x = x.astype(jnp.float32)
        per_channel = (1,) * (x.ndim - 1) + shape
        return (x - mean.reshape(per_channel)) * gain.reshape(per_channel) + bias.reshape(
            per_channel
        )
