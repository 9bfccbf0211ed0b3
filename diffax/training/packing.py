"""Many small arrays as one vector, for as long as a compiled call runs.

What an optimizer, the averages and the norms do to a leaf takes a dozen kernels, and a U-Net has
hundreds of leaves: on a CPU most of the time of compiling a training call went there. Packed, they
are a dozen kernels in all. Where every number is treated alike, at whatever place it stands, that
changes nothing but the order of a sum.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Layout(NamedTuple):
    """Which leaves of a tree are packed.

    Attributes:
        structure: of the tree.
        shapes: of its leaves.
        packed: of its leaves, whether it becomes part of the vector.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    packed: tuple[bool, ...]


@jax.tree_util.register_pytree_node_class
class Packed:
    """A tree whose small leaves are one vector.

    Attributes:
        vector: the packed leaves, one behind the other.
        others: the leaves that are not packed.
        layout: of the tree.
    """

    def __init__(self, vector: Any, others: list[Any], layout: Layout) -> None:
        self.vector, self.others, self.layout = vector, others, layout

    def tree_flatten(self) -> tuple[tuple[Any, list[Any]], Layout]:
        """For jax."""
        return (self.vector, self.others), self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, children: Any) -> Packed:
        """For jax."""
        vector, others = children
        return cls(vector, others, layout)


def layout_of(places: Any, *, largest: int, rare: int = 0) -> Layout | None:
    """Packs the float32 leaves that are whole on every device and not too large.

    Args:
        places: a tree of `jax.ShapeDtypeStruct` with shardings.
        largest: elements up to which a leaf is packed.
        rare: the same for leaves whose shape at most one other has: kernels of their own would
            serve no one else.

    Returns:
        The layout; None where there are not two leaves to pack.
    """
    leaves, structure = jax.tree.flatten(places)
    count = Counter(leaf.shape for leaf in leaves)
    packed = tuple(
        leaf.dtype == jnp.float32
        and leaf.size <= (largest if count[leaf.shape] > 2 else max(largest, rare))
        and (leaf.sharding is None or leaf.sharding.is_fully_replicated)
        for leaf in leaves
    )
    return (
        Layout(structure, tuple(leaf.shape for leaf in leaves), packed) if sum(packed) > 1 else None
    )


def concatenated(parts: list[Any]) -> Array:
    """The vector of some leaves."""
    return jnp.concatenate([part.ravel() for part in parts])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def cut(layout: Layout, vector: Array) -> list[Array]:
    """The leaves in a vector; the gradient is a vector again.

    Where a leaf begins is kept from the compiler, or it would write every layer's kernels anew for
    the sake of one number in them.
    """
    shapes = [shape for shape, inside in zip(layout.shapes, layout.packed, strict=True) if inside]
    sizes = [math.prod(shape) for shape in shapes]
    begins = lax.optimization_barrier(list(np.cumsum([0, *sizes[:-1]], dtype=np.int32)))
    return [
        lax.dynamic_slice(vector, [begin], [size], allow_negative_indices=False).reshape(shape)
        for begin, size, shape in zip(begins, sizes, shapes, strict=True)
    ]


def _cut_forward(layout: Layout, vector: Array) -> tuple[list[Array], None]:
    return cut(layout, vector), None


def _cut_backward(layout: Layout, _: None, parts: list[Array]) -> tuple[Array]:
    # Not the transposed slices, which autodiff would pad and add up one by one.
    return (concatenated(parts),)


cut.defvjp(_cut_forward, _cut_backward)


def pack(tree: Any, layout: Layout, concatenate: Callable[[list], Any] = concatenated) -> Any:
    """The same with every subtree of the layout's structure packed: parameters, moments, averages.

    Args:
        tree: of arrays, or of their shapes.
        layout: of these subtrees.
        concatenate: what makes the vector of some leaves.

    Example:
        >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}
        >>> layout = layout_of(jax.eval_shape(lambda: params), largest=100)
        >>> packed = pack({"params": params, "step": 0}, layout)
        >>> packed["params"].vector.shape, unpack(packed)["params"]["kernel"].shape
        ((9,), (2, 3))
    """

    def fits(node: Any) -> bool:
        return jax.tree.structure(node) == layout.structure

    def one(node: Any) -> Any:
        if not fits(node):
            return node
        leaves = list(zip(jax.tree.leaves(node), layout.packed, strict=True))
        vector = concatenate([leaf for leaf, inside in leaves if inside])
        return Packed(vector, [leaf for leaf, inside in leaves if not inside], layout)

    return jax.tree.map(one, tree, is_leaf=fits)


def unpack(tree: Any, cut: Callable[[Layout, Any], list] = cut) -> Any:
    """The same with nothing packed."""

    def one(node: Any) -> Any:
        if not isinstance(node, Packed):
            return node
        parts, others = iter(cut(node.layout, node.vector)), iter(node.others)
        leaves = [next(parts) if inside else next(others) for inside in node.layout.packed]
        return jax.tree.unflatten(node.layout.structure, leaves)

    return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, Packed))
