"""An optax transformation that a script hands over, as a method of `Optimizer`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclass(frozen=True)
class Transformation:
    """A script's own optimizer, with a learning rate of its own.

    A run's folder keeps what it computes, not the code: `state` names what it remembers,
    `fingerprint` is that of its computation on two small arrays.
    """

    transformation: Any = field(default=None, compare=False, repr=False, metadata={"given": True})
    """The optax transformation; None where the run was read from its folder."""
    state: tuple[str, ...] = ()
    """What it remembers, by optax's names."""
    fingerprint: str = ""
    """Of its computation; empty where that needs the run's own parameters."""

    @classmethod
    def of(cls, transformation: optax.GradientTransformation) -> Transformation:
        """The method that an optax transformation is.

        Example:
            >>> slow, fast = (Transformation.of(optax.adam(rate)) for rate in (1e-4, 1e-3))
            >>> slow.state, slow == fast, fast == Transformation.of(optax.adam(1e-3))
            (('ScaleByAdamState',), False, True)
        """
        params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}

        def update(gradient: Any, params: Any) -> Any:
            return transformation.update(gradient, transformation.init(params), params)

        try:
            state = jax.eval_shape(transformation.init, params)
            traced = jax.make_jaxpr(update)(params, params)
        except Exception:  # it looks for names, say, that only the run's parameters have
            return cls(transformation)
        text = re.sub(r"0x[0-9a-f]+", "", str(traced))  # where in memory a function lies
        digest = hashlib.sha256(text.encode())
        for constant in traced.consts:
            digest.update(jax.device_get(constant).tobytes())
        return cls(transformation, tuple(_names(state)), digest.hexdigest()[:16])

    def build(self, rate: Any) -> optax.GradientTransformation:
        """The update; `rate` is not asked.

        Raises:
            ValueError: only the script has it.
        """
        if self.transformation is None:
            raise ValueError(
                "the run's optimizer was given by a script, and its folder does not hold it; "
                "continue it from that script"
            )
        return self.transformation


def _names(state: Any) -> list[str]:
    """Names of the parts of a state that hold something."""
    if not isinstance(state, tuple) or not jax.tree.leaves(state):
        return []
    own = [type(state).__name__] if hasattr(state, "_fields") else []
    return own + [name for part in state for name in _names(part)]
