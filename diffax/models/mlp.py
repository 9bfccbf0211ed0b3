"""Networks for vectors `[B, D]`: the S-curve tutorial's, and a better one."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import sinusoidal_embedding
from diffax.models.blocks.initializers import uniform_within
from diffax.models.condition import NOTHING, Condition, checked, labels


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

    def __post_init__(self) -> None:
        fields.whole(self, "num_steps", high=fields.MOST_ROWS)
        fields.whole(self, "features")
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told: nothing."""
        return ()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, D]`.
          t: `[B]`, steps 0 ... num_steps - 1; a step beyond them gives NaN.
          condition: `{}`; the network reads nothing else.
          train: makes no difference.

        Returns:
          `[B, D]`, float32.

        Raises:
          ValueError: x is not `[B, D]`, or a condition was given.
        """
        _check_vectors("StepMLP", x, t)
        checked(self, condition, x.shape[0])
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


class VectorMLP(nn.Module):
    """A residual MLP for vectors, its blocks scaled and shifted by time and label.

    The modulation is FiLM's (Perez et al. 2018); continuous in t, so any time grid will do. Made
    for vectors of about unit variance.

    Attributes:
      features: width.
      num_blocks: residual blocks of two layers each.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        network without classes.
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000: 1000 for times
        in [0, 1], 1000 / T for T steps.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import VectorMLP
      >>> model, x, t = VectorMLP(), jnp.zeros((4, 2)), jnp.zeros(4)
      >>> model.apply(model.init(jax.random.key(0), x, t), x, t).shape
      (4, 2)
    """

    features: int = 128
    num_blocks: int = 3
    num_classes: int | None = None
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        fields.whole(self, "features", low=4)
        fields.whole(self, "num_blocks", low=0, high=fields.MOST_LAYERS)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.number(self, "time_scale")
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return () if self.num_classes is None else ("label",)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, D]`.
          t: `[B]`, times.
          condition: "label" int `[B]`, where the network has classes; without it, the null label.
          train: makes no difference.

        Returns:
          `[B, D]`, float32.

        Raises:
          ValueError: x is not `[B, D]`, or labels for a network without classes.
        """
        _check_vectors("VectorMLP", x, t)
        condition = checked(self, condition, x.shape[0])
        embedding = sinusoidal_embedding(t * self.time_scale, self.features)
        embedding = nn.silu(nn.Dense(self.features, name="time")(embedding))
        if self.num_classes is not None:
            label = labels(condition, x.shape[0], self.num_classes)
            table = nn.Embed(self.num_classes + 1, self.features, name="class_embedding")
            embedding = embedding + table(label)

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


def _check_vectors(name: str, x: jax.Array, t: jax.Array) -> None:
    if x.ndim != 2 or t.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: expected vectors [B, D] and times [B], got shapes {x.shape} and {t.shape}"
        )


def _torch_dense(features: int, x: jax.Array, name: str) -> jax.Array:
    init = uniform_within(1 / math.sqrt(x.shape[-1]))
    return nn.Dense(features, kernel_init=init, bias_init=init, name=name)(x)
