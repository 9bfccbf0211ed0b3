"""Where a compiler is to stop joining operations."""

import jax
from jax import lax


def written(x: jax.Array) -> jax.Array:
    """The same array, as one that is written to memory; also its gradient.

    In a chain of residual sums XLA's CPU compiler lets every reader of a sum compute all sums
    before it anew, for sums are cheap: in a transformer of twelve blocks that took longer than the
    products. And layers of the same shapes are one to it, compiled once, only if they read the same
    kind of array, not here a sum and there a convolution with its bias. It heeds this where the
    program is compiled with `diffax.compilation.llvm_level`, as training and sampling are. Other
    back ends decide by the cost.

    Args:
        x: of any shape.

    Example:
        >>> float(written(jax.numpy.float32(2.0)))
        2.0
    """
    return lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x
