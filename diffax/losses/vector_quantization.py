"""Codes that follow the latents they stand for (van den Oord et al. 2017; Razavi et al. 2019)."""

import jax
import jax.numpy as jnp
from jax import Array

_SMALL = 1e-5  # of the Laplace smoothing of counts


def nearest_codes(z: Array, book: Array) -> Array:
    """Index of the code nearest to each latent.

    Args:
        z: latents `[..., C]`.
        book: codes `[K, C]`.

    Returns:
        int32 `[...]`.

    Example:
        >>> nearest_codes(jnp.array([[0.9], [0.2]]), jnp.array([[0.0], [1.0]])).tolist()
        [1, 0]
    """
    # |z|^2 is the same for all codes.
    distance = jnp.sum(book**2, axis=-1)[None, :] - 2 * z.reshape(-1, z.shape[-1]) @ book.T
    return jnp.argmin(distance, axis=-1).astype(jnp.int32).reshape(z.shape[:-1])


def counts_of(codes: Array, num: int) -> Array:
    """How often each of `num` codes is used: float32 `[K]`."""
    return jnp.zeros(num).at[codes.reshape(-1)].add(1.0)


def book_of(count: Array, total: Array) -> Array:
    """Codes as the mean of what they stood for (van den Oord et al. 2017, eq. 8).

    Args:
        count: moving average of each code's uses in a batch, `[K]`, smoothed so that a code which
            is never used does not divide by zero.
        total: moving average of the sum of the latents that it stood for, `[K, C]`.

    Returns:
        `[K, C]`.
    """
    whole = jnp.sum(count)
    smooth = (count + _SMALL) / (whole + _SMALL * len(count)) * whole
    return total / smooth[:, None]


def followed(
    count: Array, total: Array, z: Array, codes: Array, decay: float
) -> tuple[Array, Array]:
    """Counts and totals after one more batch (van den Oord et al. 2017, eq. 6 and 7).

    Args:
        count: `[K]`.
        total: `[K, C]`.
        z: latents `[..., C]`.
        codes: the code of each, `[...]`.
        decay: of the averages, in [0, 1).
    """
    used = counts_of(codes, len(count))
    sums = jnp.zeros_like(total).at[codes.reshape(-1)].add(z.reshape(-1, z.shape[-1]))
    return decay * count + (1 - decay) * used, decay * total + (1 - decay) * sums


def revived(
    count: Array, total: Array, z: Array, key: Array, least: float
) -> tuple[Array, Array, Array]:
    """Moves codes that are hardly used onto latents of the batch (Dhariwal et al. 2020, appendix).

    Args:
        count: `[K]`.
        total: `[K, C]`.
        z: latents `[..., C]`.
        key: draws the latents.
        least: of the even share `latents / K`, below which a code counts as dead; 0: never.

    Returns:
        Counts, totals, and the share of codes that were dead.
    """
    latents = z.reshape(-1, z.shape[-1])
    even = len(latents) / len(count)
    dead = count < least * even
    drawn = latents[jax.random.randint(key, (len(count),), 0, len(latents))]
    return (
        jnp.where(dead, even, count),
        jnp.where(dead[:, None], even * drawn, total),
        jnp.mean(dead, dtype=jnp.float32),
    )


def perplexity(used: Array) -> Array:
    """How many codes are in use, as if evenly: `exp(entropy)` of the counts `[K]`; 1 to K.

    Example:
        >>> round(perplexity(jnp.array([2.0, 2.0, 0.0])).item(), 4)
        2.0
    """
    share = used / jnp.maximum(jnp.sum(used), 1)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))
