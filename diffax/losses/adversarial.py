"""Two players: one tells data from copies, the other makes copies that pass."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

_SMALL = 1e-4


def hinge_discriminator(real: Array, fake: Array) -> Array:
    """`(E[max(0, 1 - D(x))] + E[max(0, 1 + D(x'))]) / 2` (Lim & Ye 2017), a float32 scalar.

    Args:
        real: the discriminator's answers to data, of any shape.
        fake: to copies.

    Example:
        >>> hinge_discriminator(jnp.array([2.0]), jnp.array([0.0])).item()
        0.5
    """
    on_real = jnp.mean(jax.nn.relu(1 - real), dtype=jnp.float32)
    on_fake = jnp.mean(jax.nn.relu(1 + fake), dtype=jnp.float32)
    return 0.5 * (on_real + on_fake)


def hinge_generator(fake: Array) -> Array:
    """`-E[D(x')]`, a float32 scalar."""
    return -jnp.mean(fake, dtype=jnp.float32)


def balance(
    first: Callable[[Array], Array],
    second: Callable[[Array], Array],
    at: Array,
    pullback: Callable[[Array], Array],
) -> Array:
    """How much larger one loss's gradient is than another's (Esser et al. 2021, eq. 7).

    Args:
        first: a scalar of the generator's output: the reconstruction loss.
        second: likewise: the generator's adversarial loss.
        at: the output.
        pullback: from a gradient of the output to that of the generator's last layer.

    Returns:
        `|first's gradient| / (|second's| + 1e-4)` at the last layer, at most 10,000; no gradient
        flows through it.
    """

    def size(loss: Callable[[Array], Array]) -> Array:
        return jnp.linalg.norm(pullback(jax.grad(loss)(at)).astype(jnp.float32))

    ratio = size(first) / (size(second) + _SMALL)
    return jax.lax.stop_gradient(jnp.clip(ratio, 0.0, 1e4))
