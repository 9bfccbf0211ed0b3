"""The image that an instruction changes, as InstructPix2Pix is shown it in training."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.noun import noun, structure


@noun
class EditedImage:
    """Latents of the image before the edit, beside x (Brooks et al. 2023, section 3.2).

    The condition is `{"channels": [B, h, w, C]}`, the posterior's mean, unscaled. A request says it
    by `image`, and `generate` shows it to the network itself: then nothing is told here.

    Attributes:
        codec: a `Latent`, whose autoencoder encodes the image.
        dropout: probability, in [0, 1], of showing zeros instead in training.
    """

    codec: Any
    dropout: float = structure(default=0.1)

    reads: ClassVar[tuple[str, ...]] = ("control",)
    asks: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[bool] = False

    @property
    def params(self) -> Any:
        """The autoencoder's."""
        return self.codec.params

    def with_params(self, params: Any) -> "EditedImage":
        """The conditioner with other parameters of its autoencoder."""
        return dataclasses.replace(self, codec=self.codec.with_params(params))

    def fitted(self, spec: Any) -> "EditedImage":
        """Itself; the data must have a column "control", the images before the edit."""
        if "control" not in spec.columns:
            raise ValueError(
                "instructions need the images before the edit; set --data.control to their folder"
            )
        return self

    def init(self, key: Array) -> Any:
        """The autoencoder's parameters: nothing is drawn."""
        return self.params

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images, and 1 for each that is shown."""
        images = batch["control"]
        return {"source": images, "shown": np.ones(images.shape[:-3], np.float32)}

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """Nothing: see above."""
        return {}, {}

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Each image hidden with probability `dropout`."""
        kept = jax.random.bernoulli(key, 1 - self.dropout, told["shown"].shape)
        return told | {"shown": told["shown"] * kept}

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """The latents, or zeros; `{}` where nothing is told."""
        if "source" not in told:
            return {}
        codec = self.codec.with_params(params)
        latents = codec.module.unscale(codec.encode(jnp.asarray(told["source"])))
        return {"channels": latents * told["shown"][:, None, None, None]}
