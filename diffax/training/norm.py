"""The Euclidean norm of all gradients together, and clipping by it."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from diffax.models.blocks.fusion import written

_TERMS = 32  # of a sum that XLA's CPU compiler leaves whole
_SMALL = 1024  # elements up to which leaves are summed as one; such are on every device


def global_norm(tree: Any) -> jax.Array:
    """Square root of the sum of squares over all leaves, accumulated in float32.

    The numerous small leaves, biases and scales, are joined and summed as one: a sum for each of a
    U-Net's leaves means a thousand kernels more, and seconds more to compile them.

    Args:
        tree: of real arrays.

    Returns:
        A float32 scalar.

    Example:
        >>> float(global_norm({"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(1, 3.0)}))
        5.0
    """
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(tree)]
    small = [leaf.ravel() for leaf in leaves if math.prod(leaf.shape) <= _SMALL]
    large = [leaf for leaf in leaves if math.prod(leaf.shape) > _SMALL]
    joined = [jnp.square(jnp.concatenate(small))] if small else []
    sums = [_sums_of_squares(leaf) for leaf in large] + joined
    # Written: the compiler would make many sums of one again.
    return jnp.sqrt(jnp.sum(written(jnp.concatenate(sums)))) if sums else jnp.float32(0)


@jax.jit  # traced once for leaves of the same shape
def _sums_of_squares(leaf: jax.Array) -> jax.Array:
    """Some vector whose sum is that of an array's squares.

    XLA's CPU compiler splits sums over more than 32 rows itself, in windows that take twice as long
    and two kernels a leaf; sums of at most 32 rows are a library's. Not `vdot` of the whole: it
    sums one by one, and 70,000 terms lose half of float32's digits.
    """
    squares = jnp.square(leaf)
    if jax.default_backend() != "cpu":
        return jnp.sum(squares)[None]
    if leaf.ndim == 1:
        whole = leaf.size - leaf.size % _TERMS
        sums = jnp.sum(squares[:whole].reshape(_TERMS, -1), axis=0)
        return jnp.concatenate([written(sums), squares[whole:]])
    # All of a convolution's window.
    axes = 2 if leaf.ndim == 4 and math.prod(leaf.shape[:2]) <= _TERMS else 0
    terms = math.gcd(leaf.shape[axes], _TERMS)
    parts = squares.reshape(*leaf.shape[:axes], terms, -1, *leaf.shape[axes + 1 :])
    return written(jnp.sum(parts, axis=tuple(range(axes + 1)))).ravel()


def clip_by_norm(largest: float) -> optax.GradientTransformation:
    """Scales all gradients by one factor, at most 1, so that their norm is at most `largest`.

    Pascanu et al. 2013, algorithm 1; as `optax.clip_by_global_norm` up to rounding, but with a
    product in place of two divisions, which a compiler joins with what the optimizer does next.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factor = jnp.minimum(1.0, largest / global_norm(updates))
        return jax.tree.map(lambda u: u * factor.astype(u.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
