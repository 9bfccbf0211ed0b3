"""Latents to pictures and back, one picture at a time, in tiles where they are large."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from diffax.models import AutoencoderKL
from diffax.pretrained.network import LoadedNetwork

# Share of a tile that overlaps with its neighbour.
OVERLAP = 0.25


def decode(vae: LoadedNetwork, latents: jax.Array, tile: int | None = None) -> jax.Array:
    """Pictures of latents.

    Args:
        vae: the autoencoder.
        latents: `[B, h, w, C]`, as the diffusion model has them.
        tile: pixels on a side of overlapping tiles; None: the picture as a whole.

    Returns:
        `[B, H, W, 3]` float32 in [-1, 1].
    """
    factor = vae.module.factor
    size = None if tile is None else _tile_size(tile, factor)
    return jnp.concatenate([_tiled(_decode, vae, z[None], size, factor, 1) for z in latents])


def encode(vae: LoadedNetwork, pictures: jax.Array, tile: int | None = None) -> jax.Array:
    """Latents `[B, h, w, C]`, as the diffusion model has them, of pictures `[B, H, W, 3]`.

    The posterior's mean is taken; its spread is tiny beside the noise that follows.
    """
    factor = vae.module.factor
    size = None if tile is None else _tile_size(tile, factor) * factor
    return jnp.concatenate([_tiled(_encode, vae, x[None], size, 1, factor) for x in pictures])


def _decode_impl(vae, latents):
    pictures = vae(vae.module.unscale(latents), method="decode")
    return jnp.clip(pictures, -1.0, 1.0)


def _encode_impl(vae, pictures):
    latents = vae(pictures, method="encode")
    latents = latents.mean if isinstance(vae.module, AutoencoderKL) else latents
    return vae.module.scale(latents)


_decode = jax.jit(_decode_impl)
_encode = jax.jit(_encode_impl)


def _tile_size(tile: int, factor: int) -> int:
    if tile % factor or tile < 8 * factor:
        raise ValueError(
            f"tile must be a multiple of {factor} and at least {8 * factor} pixels, got {tile}"
        )
    return tile // factor


def _tiled(f, vae, x, size, up, down) -> jax.Array:
    """`f` on overlapping tiles, all of one shape (one program), blended by tent weights."""
    _, height, width, _ = x.shape
    if size is None or (height <= size and width <= size):
        return f(vae, x)
    out, total = None, None
    for top in _starts(height, size, down):
        for left in _starts(width, size, down):
            part = f(vae, x[:, top : top + size, left : left + size])
            if out is None:
                shape = (1, height * up // down, width * up // down, part.shape[-1])
                out, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
            weight = _tent(part.shape[1])[:, None, None] * _tent(part.shape[2])[:, None]
            rows = slice(top * up // down, top * up // down + part.shape[1])
            columns = slice(left * up // down, left * up // down + part.shape[2])
            out[:, rows, columns] += np.asarray(part) * weight
            total[:, rows, columns] += weight
    return jnp.asarray(out / total)


def _starts(length: int, size: int, multiple: int) -> list[int]:
    """Where tiles start: evenly, overlapping by at least `OVERLAP`, the last one at the end."""
    if length <= size:
        return [0]
    count = int(np.ceil((length - size) / (size * (1 - OVERLAP)))) + 1
    return [int(s) // multiple * multiple for s in np.linspace(0, length - size, count)]


def _tent(length: int) -> np.ndarray:
    """Positive weights that fall off linearly towards both ends over the overlap."""
    ramp = max(1, int(length * OVERLAP))
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0
    return np.minimum(distance / ramp, 1.0).astype(np.float32)
