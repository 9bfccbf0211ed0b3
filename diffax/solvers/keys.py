"""The randomness of sampling: one key a sample, or noise given instead of drawn."""

from typing import overload

import jax
import jax.numpy as jnp
from jax import Array

from diffax.noun import noun
from diffax.schedules import Point


def sample_keys(seed: int | Array, num: int, start: int = 0) -> Array:
    """One key a sample, `[num]`: sample i's key depends on `(seed, i)` only.

    Args:
        seed: an integer, or a key.
        num: how many.
        start: index of the first sample, for batches of a longer series.
    """
    is_key = isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    key = seed if is_key else jax.random.key(seed)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, start + jnp.arange(num))


@noun
class NoiseTape:
    """Noise given instead of drawn, to repeat another program's run; takes the place of keys.

    Attributes:
        values: what the solver is to add in every step, `[B, S, ...]`. Solvers that draw once a
            step read `values[:, step]`.
    """

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """`[B]`, as keys have."""
        return self.values.shape[:1]


Keys = Array | NoiseTape


@overload
def fold_in(keys: Array, data: int | Array) -> Array: ...
@overload
def fold_in(keys: NoiseTape, data: int | Array) -> NoiseTape: ...
def fold_in(keys: Keys, data: int | Array) -> Keys:
    """`jax.random.fold_in` for every key of a batch, `[B]`; on a tape, the noise of that step."""
    if isinstance(keys, NoiseTape):
        return NoiseTape(keys.values[:, data])
    return jax.vmap(jax.random.fold_in, (0, None))(keys, data)


def normal(keys: Keys, like: Array) -> Array:
    """Standard normal noise shaped and typed like `like` (`[B, ...]`), row i from key i."""
    if isinstance(keys, NoiseTape):
        return keys.values.astype(like.dtype)
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


# Steps fold in 0, 1, 2, ...; the start's number is out of their reach.
_START = 2**31 - 1


def initial_noise(keys: Array, shape: tuple[int, ...], start: Point | None = None) -> Array:
    """The state at the noisiest point for every key: float32, `[B, *shape]`.

    Args:
        keys: one key a sample, `[B]`.
        shape: shape of one sample.
        start: the grid's first point, whose `sigma` scales the noise (VE, EDM); None means 1.
    """
    start_keys = fold_in(keys, _START)
    noise = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(start_keys)
    return noise if start is None else start.sigma.astype(noise.dtype) * noise
