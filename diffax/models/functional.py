"""Networks that are no Flax linen modules: a pair of functions, or a module of Flax NNX.

All that diffax asks of a network is a pair of pure functions, as linen's modules have them:
`init(key, x, t, condition) -> params` and `apply(params, x, t, condition, train=False, rngs=None)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jax import Array


@dataclass(frozen=True)
class Functions:
    """A network as two functions; they should stand at the top of a file, where a name finds them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def init(key, x, t, condition):
        ...     return {"scale": jnp.zeros(x.shape[-1])}
        >>> def apply(params, x, t, condition, train=False, rngs=None):
        ...     return params["scale"] * x
        >>> network = Functions(init, apply)
        >>> params = network.init(jax.random.key(0), jnp.ones((1, 3)), jnp.ones(1), {})
        >>> network.apply(params, jnp.ones((1, 3)), jnp.ones(1), {}).shape
        (1, 3)
    """

    init: Callable[..., Any]
    """`(key, x [B, ...], t [B], condition) -> params`, a dict of arrays."""
    apply: Callable[..., Array]
    """`(params, x, t, condition, train=False, rngs=None) -> output`."""
    reads: tuple[str, ...] = ()
    """Entries of the condition that it knows."""


class NNXNetwork:
    """A network whose module is written in Flax NNX. A frozen dataclass of yours derives from it.

    `make` builds the module, which is called as `module(x, t, condition)`. Its `nnx.Param`s are
    learned; dropout works (`train` sets the module's mode). Other state that changes from call to
    call, such as the running means of `BatchNorm`, is refused: a diffusion model has none.

    Example:
        >>> import jax
        >>> from dataclasses import dataclass
        >>> from flax import nnx
        >>> class Line(nnx.Module):
        ...     def __init__(self, width, rngs):
        ...         self.dense = nnx.Linear(width, width, rngs=rngs)
        ...
        ...     def __call__(self, x, t, condition):
        ...         return self.dense(x)
        >>> @dataclass(frozen=True)
        ... class LineNetwork(NNXNetwork):
        ...     width: int = 2
        ...
        ...     def make(self, rngs):
        ...         return Line(self.width, rngs)
        >>> params = LineNetwork().init(jax.random.key(0))
        >>> jax.tree.map(lambda leaf: leaf.shape, params)
        {'dense': {'bias': (2,), 'kernel': (2, 2)}}
    """

    reads: tuple[str, ...] = ()

    def make(self, rngs: Any) -> Any:
        """The module, its parameters drawn with `rngs`, an `nnx.Rngs`."""
        raise NotImplementedError

    def clone(self, **changes: Any) -> Any:
        """The network with other fields."""
        return dataclasses.replace(self, **changes)  # pyrefly: ignore[bad-specialization]

    def init(self, key: Array, *inputs: Any) -> dict[str, Any]:
        """Its parameters, a dict of arrays; what it is shown is not asked.

        Raises:
            ValueError: the module has state that is neither learned nor random.
        """
        from flax import nnx

        _, params, _, rest = nnx.split(self.make(nnx.Rngs(key)), nnx.Param, nnx.RngState, ...)
        others = sorted({type(one).__name__ for _, one in nnx.to_flat_state(rest)})
        if others:
            raise ValueError(
                f"{type(self).__name__}: the module keeps {', '.join(others)} beside its "
                "parameters, which a run does not carry along; use layers without, such as "
                "GroupNorm for BatchNorm"
            )
        return _texts(nnx.to_pure_dict(params))

    def apply(
        self,
        params: dict[str, Any],
        x: Array,
        t: Array,
        condition: Any,
        train: bool = False,
        rngs: Any = None,
    ) -> Array:
        """`module(x, t, condition)` with these parameters."""
        from flax import nnx

        # Its own parameters are drawn and thrown away: the compiler leaves them out.
        module = self.make(nnx.Rngs(0, **(rngs or {})))
        module.train() if train else module.eval()
        graph, own, rest = nnx.split(module, nnx.Param, ...)
        nnx.replace_by_pure_dict(own, _like(params, nnx.to_pure_dict(own)))
        return nnx.merge(graph, own, rest)(x, t, condition)


def _texts(tree: Any) -> Any:
    """A tree of dicts with texts as keys, as a checkpoint wants it: lists have numbers."""
    if not isinstance(tree, dict):
        return tree
    return {str(name): _texts(branch) for name, branch in tree.items()}


def _like(tree: Any, other: Any) -> Any:
    """The inverse of `_texts`: with the keys of another tree."""
    if not isinstance(other, dict):
        return tree
    return {name: _like(tree[str(name)], branch) for name, branch in other.items()}
