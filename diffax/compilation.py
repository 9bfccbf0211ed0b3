"""How hard a program is compiled: thoroughly, or quickly where it runs once or for seconds."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
import jaxlib.version

_LEVEL = "xla_backend_optimization_level"
# XLA's CPU compiler removes `lax.optimization_barrier` before it joins operations: not in ours.
_CPU = {"xla_disable_hlo_passes": "cse_barrier_expander"}
if platform.machine().lower() in ("x86_64", "amd64"):  # others were not measured
    # XLA's own list less convolutions, which Eigen makes as fast or faster: gradients of kernels up
    # to five times.
    _CPU["xla_cpu_experimental_ynn_fusion_type"] = (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )


def compiler_options(*, quick: bool) -> dict[str, Any] | None:
    """What XLA is asked to do with a program, for `compiler_options` of `jax.jit` or `compile`.

    On a CPU most of a short run is spent in LLVM. A quick program is compiled in less than half of
    the time and runs slower; its numbers agree to rounding, not bitwise, so a run must keep to one
    kind. On other devices both are the same.

    Args:
        quick: whether the program runs for less time than compiling it well would take.

    Returns:
        The options; None for XLA's own.

    Example:
        >>> compiler_options(quick=False) is None
        True
    """
    if not quick or jax.default_backend() != "cpu":
        return None
    options = {_LEVEL: 0, "xla_cpu_parallel_codegen_split_count": 1} | _CPU
    if jaxlib.version.__version_info__ < (0, 11):
        # Of two ways to write fusions the one that compiles twice as fast; later versions know one.
        options["xla_cpu_use_fusion_emitters"] = False
    return options


def llvm_level(level: int) -> dict[str, Any] | None:
    """`compiler_options` of `jax.jit` for programs that are not worth every optimisation.

    They matter on CPUs, where LLVM takes most of the time: 0 for what runs once; 1 for what is
    mostly convolutions and matrix products, which are library calls and run as fast as ever. There
    `lax.optimization_barrier` is kept, too, which XLA would remove before it joins operations, and
    convolutions on x86-64 are Eigen's, not YNNPACK's. What `XLA_FLAGS` says goes first.

    Args:
        level: of LLVM, 0 to 3; XLA's own is 3.

    Returns:
        The options; None for XLA's own.

    Example:
        >>> double = jax.jit(lambda x: 2 * x, compiler_options=llvm_level(0))
        >>> float(double(1.0))
        2.0
    """
    if jax.default_backend() != "cpu":
        return None
    options = {_LEVEL: level} | _CPU
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if name not in flags} or None


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with `llvm_level(1)`, for what is mostly convolutions and matrix products.

    The devices are asked for with the first call and not before, so it can decorate functions of a
    module. Within other functions of jax's it is their part, and compiled as the whole is.

    Args:
        function: see `jax.jit`.
        **options: see `jax.jit`.

    Example:
        >>> float(jit(lambda x: 2 * x)(1.0))
        2.0
    """
    part = jax.jit(function, **options)

    @cache
    def whole() -> Callable[..., Any]:
        return jax.jit(function, compiler_options=llvm_level(1), **options)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # Only a whole program can have options.
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (part if traced else whole())(*args, **kwargs)

    return call


def give_back_memory() -> None:
    """Gives the system back what compiling took: after a large program most of a gigabyte.

    The C library keeps what is freed; glibc can be asked not to.

    Example:
        >>> give_back_memory()
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
