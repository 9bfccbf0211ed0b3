"""The latent space of an autoencoder, in tiles where images are large."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.compilation import jit
from diffax.noun import noun, structure

# Share of a tile that overlaps with its neighbour.
OVERLAP = 0.25


@noun
class Latent:
    """Images <-> latents of an autoencoder with its scale and shift (Rombach et al. 2022).

    Attributes:
        module: an `AutoencoderKL` or `VQModel`; it knows its own scale and shift.
        params: its parameters.
        tile: pixels on a side of the overlapping tiles in which large images are decoded and
            encoded outside of compiled programs; None: as a whole.
    """

    module: Any = structure()
    params: Any
    tile: int | None = structure(default=None)

    def fitted(self, spec: Any) -> "Latent":
        """Itself; the data must be images."""
        if len(spec.columns["x"].shape) != 3:
            raise ValueError(
                f"an autoencoder encodes images, the data are {list(spec.columns['x'].shape)}"
            )
        return self

    @property
    def factor(self) -> int:
        """Pixels a latent, on each axis."""
        return self.module.factor

    def with_params(self, params: Any) -> "Latent":
        """The codec with other parameters of its autoencoder."""
        return dataclasses.replace(self, params=params)

    def tiled(self, tile: int) -> "Latent":
        """The codec that works in tiles of so many pixels.

        Raises:
            ValueError: no multiple of the factor, or too small.
        """
        codec = dataclasses.replace(self, tile=tile)
        codec._tile_size()
        return codec

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """Latents `[B, h, w, C]` of images: uint8, or float32 in [-1, 1].

        Args:
            raw: images `[B, H, W, 3]`.
            key: draw from the posterior; None: its mean, as image-to-image takes it (its spread is
                tiny beside the noise that follows).
        """
        images = image_range.to_float(raw) if raw.dtype == jnp.uint8 else raw
        if isinstance(images, jax.core.Tracer):
            return _encode(self.module, self.params, images, key)
        tile = self._tile_size()
        size = None if tile is None else tile * self.factor
        parts = [
            _tiled(functools.partial(_encode_one, self.module, self.params), x[None], size,
                   1, self.factor)
            for x in images
        ]  # fmt: skip
        return jnp.concatenate(parts)

    def decode(self, x: Array) -> Array:
        """Images `[B, H, W, 3]`, float32 in [-1, 1], of latents `[B, h, w, C]`."""
        if isinstance(x, jax.core.Tracer):
            return _decode(self.module, self.params, x)
        size = self._tile_size()
        # One image at a time: memory does not grow with the batch.
        parts = [
            _tiled(functools.partial(_decode_one, self.module, self.params), z[None], size,
                   self.factor, 1)
            for z in x
        ]  # fmt: skip
        return jnp.concatenate(parts)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """`(h, w, C)` of images `(H, W, 3)`."""
        height, width = raw[:2]
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"the autoencoder takes images whose sides are multiples of {self.factor}, "
                f"got {height}x{width}"
            )
        return (height // self.factor, width // self.factor, self.module.latent_channels)

    def _tile_size(self) -> int | None:
        """Side of a tile, in latents; None: no tiles."""
        if self.tile is None:
            return None
        if self.tile % self.factor or self.tile < 8 * self.factor:
            raise ValueError(
                f"tile must be a multiple of {self.factor} and at least {8 * self.factor} pixels, "
                f"got {self.tile}"
            )
        return self.tile // self.factor


def _decode(module: Any, params: Any, latents: Array) -> Array:
    images = module.apply(params, module.unscale(latents), method="decode")
    return jnp.clip(images, -1.0, 1.0)


def _encode(module: Any, params: Any, images: Array, key: Array | None = None) -> Array:
    latents = module.apply(params, images, method="encode")
    if hasattr(latents, "log_variance"):  # a posterior
        mean = latents.mean
        latents = mean if key is None else latents.sample(jax.random.normal(key, mean.shape))
    return module.scale(latents)


_decode_one = jit(_decode, static_argnums=0)
_encode_one = jit(_encode, static_argnums=0)


def _tiled(f: Callable[[Array], Array], x: Array, size: int | None, up: int, down: int) -> Array:
    """`f` on overlapping tiles, all of one shape (one program), blended by tent weights."""
    _, height, width, _ = x.shape
    if size is None or (height <= size and width <= size):
        return f(x)
    out = total = np.zeros(())  # their shape is known with the first tile
    for top in _starts(height, size, down):
        for left in _starts(width, size, down):
            part = f(x[:, top : top + size, left : left + size])
            if out.ndim == 0:
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
