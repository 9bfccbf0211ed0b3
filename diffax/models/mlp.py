"""Networks for points `[B, D]`: the S-curve tutorial's, and a better one."""

import math
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.embeddings import sinusoidal_embedding


class StepMLP(nn.Module):
    """The S-curve tutorial's network: D-128-128-128-D with one learned embedding a step.

    Each of the first three layers has a table of embeddings of its own, added to the layer's output
    before the ReLU. Initialised as PyTorch does by default: weights and biases uniform within
    1 / sqrt(fan_in), embeddings standard normal.

    Attributes:
      num_steps: T; the model knows the times 0 ... T - 1 and rounds t to the nearest.
      features: width of the hidden layers.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import StepMLP
      >>> model, x, t = StepMLP(num_steps=100), jnp.zeros((4, 2)), jnp.arange(4.0)
      >>> model.apply(model.init(jax.random.key(0), x, t), x, t).shape
      (4, 2)
    """

    num_steps: int = 100
    features: int = 128

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, D]`.
          t: `[B]`, steps 0 ... num_steps - 1; a step beyond them gives NaN.
          condition: None; the model knows no labels.
          train: makes no difference.

        Returns:
          `[B, D]`, float32.

        Raises:
          ValueError: x is not `[B, D]`, or a condition was given.
        """
        _check_points("StepMLP", x, t)
        if condition is not None:
            raise ValueError("StepMLP: expected no condition, got one; use PointMLP for labels")
        step = jnp.rint(t).astype(jnp.int32)
        h = x
        for i in range(3):
            table = self.param(
                f"embedding_{i}",
                nn.initializers.normal(1.0),
                (self.num_steps, self.features),
                jnp.float32,
            )
            embedding = table.at[step].get(mode="fill", wrap_negative_indices=False)
            h = nn.relu(_torch_dense(self.features, h, f"dense_{i}") + embedding)
        return _torch_dense(x.shape[-1], h, "dense_3")


class PointMLP(nn.Module):
    """A residual MLP for points, its blocks scaled and shifted by time and label.

    The modulation is FiLM's (Perez et al. 2018); continuous in t, so any time grid will do. Made
    for points of about unit variance.

    Attributes:
      features: width.
      num_blocks: residual blocks of two layers each.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        model without labels.
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000: 1000 for times
        in [0, 1], 1000 / T for T steps.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import PointMLP
      >>> model, x, t = PointMLP(), jnp.zeros((4, 2)), jnp.zeros(4)
      >>> model.apply(model.init(jax.random.key(0), x, t), x, t).shape
      (4, 2)
    """

    features: int = 128
    num_blocks: int = 3
    num_classes: int | None = None
    time_scale: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, D]`.
          t: `[B]`, times.
          condition: labels `[B]`, integers; None is the null label for every point.
          train: makes no difference.

        Returns:
          `[B, D]`, float32.

        Raises:
          ValueError: x is not `[B, D]`, or labels for a model without classes.
        """
        _check_points("PointMLP", x, t)
        if condition is not None and self.num_classes is None:
            raise ValueError(
                "PointMLP: expected no condition, for num_classes is None; got one; set "
                "num_classes or pass condition=None"
            )
        embedding = sinusoidal_embedding(t * self.time_scale, self.features)
        embedding = nn.silu(nn.Dense(self.features, name="time")(embedding))
        if self.num_classes is not None:
            if condition is None:
                condition = jnp.full(t.shape, self.num_classes, jnp.int32)
            chex.assert_shape(condition, t.shape)
            embedding = embedding + nn.Embed(self.num_classes + 1, self.features, name="label")(
                condition
            )

        # No norm on the way: the far noise of large t must come through linearly, or deterministic
        # samplers, which never forget an early error, miss the data.
        zeros = nn.initializers.zeros
        h = nn.Dense(self.features, name="dense_in")(x)
        for i in range(self.num_blocks):
            modulation = nn.Dense(2 * self.features, name=f"modulation_{i}")(embedding)
            scale, shift = jnp.split(modulation, 2, axis=-1)
            branch = nn.silu(h * (1 + scale) + shift)
            branch = nn.silu(nn.Dense(self.features, name=f"dense_{i}_0")(branch))
            h = h + nn.Dense(self.features, kernel_init=zeros, name=f"dense_{i}_1")(branch)
        return nn.Dense(x.shape[-1], kernel_init=zeros, name="dense_out")(h)


def _check_points(name: str, x: jax.Array, t: jax.Array) -> None:
    if x.ndim != 2:
        raise ValueError(f"{name}: expected points [B, D], got shape {x.shape}")
    chex.assert_shape(t, x.shape[:1])


def _torch_dense(features: int, x: jax.Array, name: str) -> jax.Array:
    init = _uniform(1 / math.sqrt(x.shape[-1]))
    return nn.Dense(features, kernel_init=init, bias_init=init, name=name)(x)


def _uniform(bound: float) -> Callable[..., jax.Array]:
    """Initialiser: uniform within -bound ... bound."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
