"""Several training steps as one compiled call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from diffax.compilation import compiler_options, give_back_memory, llvm_level
from diffax.training.devices import batch_sharding, replicated
from diffax.training.packing import Layout, concatenated, cut, layout_of, pack, unpack
from diffax.training.state import TrainState
from diffax.training.step import Batch, Metrics, Step

# Elements of a leaf: to pack is to copy.
_LARGEST_PACKED, _LARGEST_RARE = 2**17, 2**20


def compile_call(
    step: Step,
    places: tuple[TrainState, Any],
    batches: Any,
    mesh: Mesh,
    *,
    packed: bool = False,
    quick: bool = False,
) -> Any:
    """Compiles several training steps as one call.

    Args:
        step: one of them.
        places: shapes and places of the state and of the frozen parts.
        batches: the stack's shapes, [k, B, ...].
        mesh: all devices.
        packed: whether the optimizer treats every number alike, wherever it stands; then arrays of
            the state that are small, or of rare shapes, are packed on CPUs.
        quick: as in `compiler_options`.

    Returns:
        The function that `make_call` describes, with `cost_analysis` and `memory_analysis`.
    """
    lowered, layout = lower_call(step, places, batches, mesh, packed=packed)
    options = compiler_options(quick=quick)
    if layout is None:
        call = lowered.compile(compiler_options=options)
        give_back_memory()
        return call
    leaves = zip(jax.tree.leaves(places[0].trainable), layout.packed, strict=True)
    parts = [leaf for leaf, inside in leaves if inside]
    # Beside the call, which XLA works on with one thread for half of the time.
    with ThreadPoolExecutor(1) as beside:
        concatenate = beside.submit(_quickly, concatenated, parts, mesh)
        cut_apart = beside.submit(_quickly, partial(cut, layout), _vector(parts, mesh), mesh)
        call = lowered.compile(compiler_options=options)
    give_back_memory()
    return PackedCall(layout, concatenate.result(), call, cut_apart.result())


def lower_call(
    step: Step, places: tuple[TrainState, Any], batches: Any, mesh: Mesh, *, packed: bool = False
) -> tuple[jax.stages.Lowered, Layout | None]:
    """The program of `compile_call` before it is compiled, and what it takes packed."""
    state, frozen = places
    layout = None
    if packed and jax.default_backend() == "cpu":
        layout = layout_of(state.trainable, largest=_LARGEST_PACKED, rare=_LARGEST_RARE)
    if layout is not None:
        state = pack(state, layout, lambda parts: _vector(parts, mesh))
    stop = jax.ShapeDtypeStruct((mesh.size,), jnp.int32, sharding=batch_sharding(mesh))
    count = jax.ShapeDtypeStruct((), jnp.int32)
    call = make_call(step, (state, frozen), batches, mesh)
    return call.lower(state, frozen, batches, count, stop), layout


def _vector(parts: list[Any], mesh: Mesh) -> jax.ShapeDtypeStruct:
    size = sum(part.size for part in parts)
    return jax.ShapeDtypeStruct((size,), jnp.float32, sharding=replicated(mesh))


def _quickly(function: Callable, shapes: Any, mesh: Mesh) -> Any:
    lowered = jax.jit(function, out_shardings=replicated(mesh)).lower(shapes)
    return lowered.compile(compiler_options=llvm_level(0))


@dataclass(frozen=True)
class PackedCall:
    """A call that is given its state packed.

    To pack and to unpack are programs of their own, which are compiled in no time because they run
    for none: hundreds of arrays cut inside the call would be as many kernels to optimise.
    """

    layout: Layout
    concatenate: Callable[[list[Array]], Array]
    call: Any
    cut: Callable[[Array], list[Array]]

    def __call__(self, state: TrainState, *more: Any) -> tuple[TrainState, Metrics, Array]:
        """The call; the state is donated."""
        packed, metrics, stopped = self.call(pack(state, self.layout, self._pack), *more)
        return unpack(packed, lambda layout, vector: self.cut(vector)), metrics, stopped

    def _pack(self, parts: list[Array]) -> Array:
        vector = self.concatenate(parts)
        for part in parts:
            part.delete()
        return vector

    def cost_analysis(self) -> Any:
        """Of the call itself."""
        return self.call.cost_analysis()

    def memory_analysis(self) -> Any:
        """Of the call itself."""
        return self.call.memory_analysis()


def make_call(
    step: Step, places: tuple[TrainState, Any], batches: Any, mesh: Mesh
) -> jax.stages.Wrapped:
    """Several training steps as one function to be compiled, the state donated.

    Args:
        step: one of them.
        places: shapes and places of the state and of the frozen parts.
        batches: the stack's shapes, [k, B, ...].
        mesh: all devices.

    Returns:
        The jitted function `(state, frozen, batches [k, B, ...], count, stop [devices]) -> (state,
        metrics [k, ...], any(stop))`: it makes the first `count` <= k steps. `count` is traced: one
        program serves calls of every length, so that where calls are cut changes no bit of the
        result. Metrics beyond `count` are zero.
    """
    state_places, frozen_places = jax.tree.map(lambda leaf: leaf.sharding, places)
    length = jax.tree.leaves(batches)[0].shape[0]
    step = jax.jit(step, inline=True)  # traced once for shapes and program

    def call(state: TrainState, frozen: Any, batches: Batch, count: Array, stop: Array):
        one = jax.tree.map(lambda leaf: leaf[0], batches)
        if length == 1:
            state, metrics = step(state, frozen, one)
            return state, jax.tree.map(lambda m: m[None], metrics), jnp.any(stop > 0)
        shapes = jax.eval_shape(step, state, frozen, one)[1]
        empty = jax.tree.map(lambda m: jnp.zeros((length, *m.shape), m.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = carry
            batch = jax.tree.map(lambda leaf: leaf[i], batches)
            state, new = step(state, frozen, batch)
            return state, jax.tree.map(lambda m, n: m.at[i].set(n), metrics, new)

        state, metrics = jax.lax.fori_loop(0, count, body, (state, empty))
        return state, metrics, jnp.any(stop > 0)

    return jax.jit(
        call,
        in_shardings=(
            state_places,
            frozen_places,
            batch_sharding(mesh, stacked=True),
            replicated(mesh),
            None,
        ),
        out_shardings=(state_places, replicated(mesh), replicated(mesh)),
        donate_argnums=0,
        compiler_options=llvm_level(1),
    )
