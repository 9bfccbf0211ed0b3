"""What LoRA files of all kinds do to one kernel: low rank, Hadamard, Kronecker, magnitudes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax.adapters.low_rank import difference
from diffax.noun import noun, number


@noun
class Factors:
    """LoRA: `dW = down up` (Hu et al. 2022, eq. 3).

    Attributes:
        down: `[C_in, rank]`, or `[h, w, C_in, rank]` of a convolution.
        up: `[rank, C_out]`.
        alpha: strength; the rank for a factor of 1.
        magnitude: of DoRA; see `rescaled`.
    """

    down: Array
    up: Array
    alpha: ArrayLike = number()
    magnitude: Array | None = None

    @property
    def rank(self) -> int:
        """Columns of `down`."""
        return self.up.shape[0]

    def delta(self, shape: tuple[int, ...]) -> Array:
        """`alpha / rank * down up`."""
        down = self.down.reshape(-1, self.rank)
        return difference(down, self.up, jnp.asarray(self.alpha) / self.rank, shape)


@noun
class Hadamard:
    """LoHa: `dW = (w1_a w1_b) * (w2_a w2_b)`, elementwise (Hyeon-Woo et al. 2022, eq. 2).

    Attributes:
        tensors: "hada_w1_a" `[C_out, rank]`, "hada_w1_b" `[rank, C_in h w]`, and `w2` likewise;
            with cores "hada_t1", "hada_t2" `[rank, rank, h, w]`, `w_a` is `[rank, C_out]` and `w_b`
            is `[rank, C_in]`.
        alpha: strength; the rank for a factor of 1.
        magnitude: of DoRA; see `rescaled`.
    """

    names: ClassVar = (*(f"hada_w{i}_{way}" for i in "12" for way in "ab"), "hada_t1", "hada_t2")

    tensors: Mapping[str, Array]
    alpha: ArrayLike = number()
    magnitude: Array | None = None

    @property
    def rank(self) -> int:
        """Of each of the two products."""
        return self.tensors["hada_w1_b"].shape[0]

    def delta(self, shape: tuple[int, ...]) -> Array:
        """`alpha / rank * (w1_a w1_b) * (w2_a w2_b)`."""
        one, two = (
            _product(
                self.tensors[f"hada_w{i}_a"],
                self.tensors[f"hada_w{i}_b"],
                self.tensors.get(f"hada_t{i}"),
            )
            for i in "12"
        )
        return _as_kernel(self.alpha / self.rank * (one * two), shape)


@noun
class Kronecker:
    """LoKr: `dW = w1 (x) w2`, Kronecker's product (Yeh et al. 2024, sec. 4).

    Attributes:
        tensors: "lokr_w1" `[o1, i1]` and "lokr_w2" `[o2, i2 (h, w)]` with C_out = o1 o2 and
            C_in = i1 i2; in place of either, its factors "lokr_w1_a" and "lokr_w1_b", with a core
            "lokr_t2" as in `Hadamard`.
        alpha: strength; the rank for a factor of 1, and 1 where neither is in factors.
        magnitude: of DoRA; see `rescaled`.
    """

    names: ClassVar = (*(f"lokr_w{i}{way}" for i in "12" for way in ("", "_a", "_b")), "lokr_t2")

    tensors: Mapping[str, Array]
    alpha: ArrayLike = number()
    magnitude: Array | None = None

    @property
    def factored(self) -> bool:
        """Whether either matrix is a product."""
        return "lokr_w1_b" in self.tensors or "lokr_w2_b" in self.tensors

    @property
    def rank(self) -> int:
        """Of the factors; 1 without any."""
        for name in ("lokr_w1_b", "lokr_w2_b"):
            if name in self.tensors:
                return self.tensors[name].shape[0]
        return 1

    def delta(self, shape: tuple[int, ...]) -> Array:
        """`alpha / rank * w1 (x) w2`."""
        one, two = (
            self.tensors[f"lokr_w{i}"]
            if f"lokr_w{i}" in self.tensors
            else _product(
                self.tensors[f"lokr_w{i}_a"],
                self.tensors[f"lokr_w{i}_b"],
                self.tensors.get("lokr_t2") if i == "2" else None,
            )
            for i in "12"
        )
        one = one.reshape(one.shape + (1,) * (two.ndim - 2))
        return _as_kernel(self.alpha / self.rank * jnp.kron(one, two), shape)


# Each has `delta(shape)`, float32 `[C_in, C_out]` or `[h, w, C_in, C_out]`.
Correction = Factors | Hadamard | Kronecker


def corrected(kernel: Array, corrections: list[tuple[Correction, ArrayLike]]) -> Array:
    """The kernel with corrections, each with its scale, in its own dtype; computed in float32.

    What each does to the kernel given adds up, as in PEFT.

    Args:
        kernel: `[C_in, C_out]`, or `[h, w, C_in, C_out]`.
        corrections: with scales, 1 for what the file says.
    """
    exact = kernel.astype(jnp.float32)
    total = exact
    for correction, scale in corrections:
        change = scale * correction.delta(kernel.shape)
        if correction.magnitude is not None:
            change = rescaled(exact + change, correction.magnitude) - exact
        total = total + change
    return total.astype(kernel.dtype)


def rescaled(kernel: Array, magnitude: Array) -> Array:
    """`m W / |W|`, with the norm of every output or input (DoRA: Liu et al. 2024, eq. 5).

    Args:
        kernel: `[C_in, C_out]`, or `[h, w, C_in, C_out]`, float32.
        magnitude: m, of as many axes; the norm is taken over those where it has size 1.
    """
    axes = tuple(axis for axis, size in enumerate(magnitude.shape) if size == 1)
    return kernel * (magnitude / jnp.sqrt(jnp.sum(kernel**2, axes, keepdims=True)))


def check_fit(correction: Correction, shape: tuple[int, ...]) -> None:
    """Raises ValueError, worded to stand after a layer's name, where a kernel has another shape."""
    try:
        jax.eval_shape(lambda: correction.delta(shape))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"does not give a kernel of {list(shape)}") from error


def read_magnitude(values: np.ndarray, shape: tuple[int, ...], *, outputs: bool) -> Array:
    """A file's magnitudes, ready for `rescaled`; ValueError where they do not fit.

    Args:
        values: any shape.
        shape: the kernel's.
        outputs: one an output feature; else one an input feature.
    """
    *_, inputs, features = shape
    own = (1, features) if outputs else (inputs, 1)
    if values.size != max(own):
        raise ValueError(f"has {values.size} magnitudes, expected {max(own)}")
    return jnp.asarray(values, jnp.float32).reshape((1,) * (len(shape) - 2) + own)


def write_magnitude(magnitude: Array) -> Array:
    """As files have it: `[C_out, 1 (, 1, 1)]` or `[1, C_in (, 1, 1)]`."""
    inside = magnitude.ndim - 2
    return magnitude.reshape(magnitude.shape[-1], magnitude.shape[-2], *(1,) * inside)


def peft_magnitude(magnitude: Array) -> Array:
    """As PEFT has it: `[C_out]`, or `[1, C_out, 1, 1]`.

    Raises:
        ValueError: magnitudes of inputs, which PEFT does not know.
    """
    if magnitude.shape[-2] != 1:
        raise ValueError("PEFT has no magnitudes of inputs; save with layout='kohya'")
    return magnitude.reshape(-1) if magnitude.ndim == 2 else magnitude.transpose(0, 3, 1, 2)


def _product(a: Array, b: Array, core: Array | None) -> Array:
    """`a b` `[C_out, C_in h w]`, or through a core `[C_out, C_in, h, w]`."""
    if core is None:
        return a @ b
    return jnp.einsum("ijhw,io,jc->ochw", core, a, b)


def _as_kernel(published: Any, shape: tuple[int, ...]) -> Array:
    """From `[C_out, C_in, h, w]`, flat or not, to `[h, w, C_in, C_out]`; or `[C_in, C_out]`."""
    *inside, inputs, features = shape
    delta = published.reshape(features, inputs, *inside)
    return jnp.moveaxis(delta, (0, 1), (-1, -2))
