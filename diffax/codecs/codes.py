"""The codes of a vector-quantized autoencoder as tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from diffax.codecs.latent import Latent
from diffax.losses.vector_quantization import nearest_codes
from diffax.noun import noun


@noun
class Codes:
    """Images <-> the numbers of their codes, int32 `[B, h, w, 1]` (van den Oord et al. 2017).

    Attributes:
        latent: the latents of an autoencoder with a codebook.

    Example:
        >>> import jax
        >>> from diffax.models import VQModel
        >>> module = VQModel(norm_num_groups=8, block_out_channels=(8,), num_vq_embeddings=16)
        >>> images = jnp.zeros((2, 8, 8, 3), jnp.uint8)
        >>> codec = Codes(Latent(module, module.init(jax.random.key(0), images[:1] / 255)))
        >>> codec.size, codec.encode(images).shape
        (16, (2, 8, 8, 1))
    """

    latent: Latent

    def fitted(self, spec: Any) -> Codes:
        """Itself.

        Raises:
            ValueError: data that are no images, or an autoencoder without a codebook.
        """
        self.latent.fitted(spec)
        if not hasattr(self.latent.module, "num_vq_embeddings"):
            raise ValueError(
                f"{type(self.latent.module).__name__} has no codebook: train a vq_model, such as "
                "emoji_autoencoder:codes, or take the codec of its latents"
            )
        return self

    @property
    def params(self) -> Any:
        """The autoencoder's parameters."""
        return self.latent.params

    def with_params(self, params: Any) -> Codes:
        """The codec with other parameters of its autoencoder."""
        return dataclasses.replace(self, latent=self.latent.with_params(params))

    def tiled(self, tile: int) -> Codes:
        """The codec that works in tiles of so many pixels; raises as `Latent.tiled`."""
        return dataclasses.replace(self, latent=self.latent.tiled(tile))

    @property
    def factor(self) -> int:
        """Pixels a code, on each axis."""
        return self.latent.factor

    @property
    def size(self) -> int:
        """How many codes there are; the mask is the token of this number."""
        return self.latent.module.num_vq_embeddings

    @property
    def book(self) -> Array:
        """The codes, float32 `[size, C]`."""
        return jnp.asarray(self.params["params"]["quantize"]["embedding"]["embedding"], jnp.float32)

    def encode(self, raw: Array, key: Array | None = None) -> Array:
        """The code nearest to each latent of images: uint8, or float32 in [-1, 1]."""
        z = self.latent.module.unscale(self.latent.encode(raw))
        return nearest_codes(z, self.book)[..., None]

    def decode(self, x: Array) -> Array:
        """Images `[B, H, W, 3]`, float32 in [-1, 1]; masks as the code nearest to the mean."""
        book = self.book
        known = jnp.concatenate([book, jnp.mean(book, axis=0, keepdims=True)])
        return self.latent.decode(self.latent.module.scale(known[x[..., 0]]))

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """`(h, w, 1)` of images `(H, W, 3)`."""
        return (*self.latent.shape(raw)[:2], 1)
