"""LoRA: a low-rank correction of frozen matrices."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.adapters.paths import flat, matching, nested
from diffax.noun import noun, number, structure


@noun
class LowRank:
    """`W + alpha / rank * A B` for every matching kernel (Hu et al. 2022, eq. 3).

    A is drawn from a normal distribution and B starts at zero, so that training starts from the
    frozen model itself. Kernels of convolutions `[h, w, C_in, C_out]` are taken as matrices
    `[h w C_in, C_out]`.

    Attributes:
        rank: r >= 1, columns of A.
        alpha: strength of the correction; None: `rank`, so that the factor is 1.
        pattern: which kernels: a regular expression, searched for in their names; by default the
            maps of attention layers, those of CLIP's text encoders included where the
            conditioner is `trained`.
    """

    rank: int = structure(default=4)
    alpha: float | None = number(default=None)
    pattern: str = structure(default=r"(to_(q|k|v|out_0)|(q|k|v|out)_proj)/kernel$")

    def __post_init__(self) -> None:
        """Checks the rank."""
        if not 1 <= self.rank <= 4096:
            raise ValueError(f"adapter.rank must lie in 1 to 4096, got {self.rank}")

    def init(self, key: Array, params: Any) -> tuple[Any, Any]:
        """`{name: {"down": A, "up": B}}`, and the parameters themselves."""
        leaves = flat(params)
        names = matching(leaves, self.pattern, "adapter.pattern")
        names = sorted(name for name in names if leaves[name].ndim >= 2)
        if not names:
            raise ValueError(
                f"adapter.pattern {self.pattern!r} matches no matrix; it should name kernels"
            )
        factors = {}
        for name, one in zip(names, jax.random.split(key, len(names)), strict=True):
            *inner, features = leaves[name].shape
            rows = 1
            for size in inner:
                rows *= size
            down = jax.random.normal(one, (rows, self.rank), jnp.float32) / self.rank
            factors[name.replace("/", ".")] = {
                "down": down,
                "up": jnp.zeros((self.rank, features), jnp.float32),
            }
        return factors, params

    def merge(self, trainable: Any, frozen: Any) -> Any:
        """The frozen kernels with their corrections, in the kernels' own dtype."""
        leaves = flat(frozen)
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        for dotted, factors in trainable.items():
            name = dotted.replace(".", "/")
            leaves[name] = corrected(leaves[name], factors["down"], factors["up"], scale)
        return nested(leaves)


def corrected(kernel: Array, down: Array, up: Array, scale: ArrayLike) -> Array:
    """`W + scale A B` in the kernel's own dtype, computed in float32.

    Args:
        kernel: W, `[C_in, C_out]`, or `[h, w, C_in, C_out]` of a convolution.
        down: A, `[h w C_in, rank]`.
        up: B, `[rank, C_out]`.
        scale: alpha / rank, perhaps times a strength.
    """
    correction = difference(down, up, scale, kernel.shape)
    return (kernel.astype(jnp.float32) + correction).astype(kernel.dtype)


def difference(down: Array, up: Array, scale: ArrayLike, shape: tuple[int, ...]) -> Array:
    """`scale A B` as a kernel of a shape; the rest as in `corrected`."""
    return jnp.asarray(scale) * (down @ up).reshape(shape)
