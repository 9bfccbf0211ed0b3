"""State that is assigned and not learned, such as a moving average, told through the gradient.

A training step knows gradients only. So a number that shall become another one after the step gets
a term in the loss that is 0 and whose gradient is the way there: one plain step of size 1 makes it.
It is averaged over devices and parts of a batch as all gradients are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def assignment(tree: Any, becomes: Any) -> Array:
    """A term of value 0 by which one plain gradient step of size 1 turns `tree` into `becomes`.

    Args:
        tree: float32 arrays, what the gradient is taken of.
        becomes: the same tree with other numbers; no gradient flows into them.

    Returns:
        A float32 scalar, 0.

    Example:
        >>> count = jnp.float32(3)
        >>> slope = jax.grad(lambda n: assignment({"n": n}, {"n": n + 1}))(count)
        >>> (count - slope).item()
        4.0
    """

    def term(old: Array, new: Array) -> Array:
        still = jax.lax.stop_gradient(old)
        return jnp.sum((old - still) * (still - jax.lax.stop_gradient(new)))

    return sum(jax.tree.leaves(jax.tree.map(term, tree, becomes)), jnp.float32(0))


def running_mean(average: Array, value: Array, made: Array, decay: float) -> Array:
    """A moving average after one more value; the first ones count more.

    Args:
        average: before.
        value: the new one, of the same shape.
        made: float32 scalar, values averaged before.
        decay: in [0, 1), of the average in the long run: `min(decay, made / (made + 1))`, so that
            it begins as the plain mean of all values.
    """
    beta = jnp.minimum(decay, made / (made + 1))
    return beta * average + (1 - beta) * value
