"""Weights whose size means nothing are kept at one size (Karras et al. 2024, EDM2, eq. 66)."""

from __future__ import annotations

from typing import Any

import jax
import optax

from diffax.models.blocks.magnitude import normalized


def unit_weights(chosen: Any) -> optax.GradientTransformation:
    """The last part of a chain: after each step the weights of every output have unit magnitude.

    Without it the weights of a magnitude-preserving network grow, and the same learning rate turns
    them less and less.

    Args:
        chosen: a tree of bools like the parameters: which of them. The last axis of each is its
            outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> kept = unit_weights({"kernel": True})
        >>> params = {"kernel": jnp.ones((2, 3))}
        >>> updates, _ = kept.update({"kernel": jnp.ones((2, 3))}, kept.init(params), params)
        >>> bool(jnp.abs(optax.apply_updates(params, updates)["kernel"] - 1).max() < 1e-3)
        True
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def kept(unit: bool, step: jax.Array, weight: jax.Array) -> jax.Array:
            if not unit:
                return step
            return normalized(weight + step, tuple(range(weight.ndim - 1))) - weight

        return jax.tree.map(kept, chosen, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
