"""A smaller version of the image: super-resolution and cascades."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.models.blocks.embeddings import sinusoidal_embedding
from diffax.noun import noun, structure

_WAVES = 32  # width of the noise level's embedding


@noun
class LowRes:
    """What an image looks like at a fraction of its size (Saharia et al. 2021; Ho et al. 2021).

    While training the small image is made of the large one, and noised by a random amount which the
    network is told: the images of another model, whose faults it has not seen, then do as well
    (Ho et al. 2021, section 4.2). The condition is `{"channels": [B, H, W, C], "embedding": [B,
    32]}`: the small image enlarged by bicubic interpolation, and the noise level's waves.

    Attributes:
        factor: of the sides, 2 to 16.
        noise: largest standard deviation of that noise, in [0, 1): the small image becomes
            `sqrt(1 - s^2) image + s noise` with s uniform in 0 to `noise`.
        channels: C of an image; None: the data's.
    """

    factor: int = structure(default=2)
    noise: float = structure(default=0.2)
    channels: int | None = structure(default=None)

    reads: ClassVar[tuple[str, ...]] = ("x",)
    asks: ClassVar[tuple[str, ...]] = ("low_res", "noise_level")
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 2 <= self.factor <= 16:
            raise ValueError(f"conditioner.factor must lie in 2 to 16, got {self.factor}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"conditioner.noise must lie in [0, 1), got {self.noise}")

    def fitted(self, spec: Any) -> "LowRes":
        """With the data's channels.

        Raises:
            ValueError: no images, or sides that are no multiples of the factor.
        """
        if not spec.is_image or any(side % self.factor for side in spec.shape[:2]):
            raise ValueError(
                f"conditioner low_res needs images whose sides are multiples of {self.factor}, the "
                f"data are {spec.columns['x'].dtype} {list(spec.shape)}; set data.image_size"
            )
        return dataclasses.replace(self, channels=spec.shape[-1])

    def with_params(self, params: Any) -> "LowRes":
        """Itself: it has none."""
        return self

    def init(self, key: Array) -> dict:
        """Nothing."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Small images `[..., h, w, C]` in [-1, 1], means of squares; noise levels of 0."""
        small = shrunk(image_range.to_float(batch["x"]), self.factor)
        return {"low_res": small, "noise_level": np.zeros(small.shape[:-3], np.float32)}

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """The small images of a request, one or `num`, noised as it says.

        Raises:
            ValueError: as `given`, or more noise than was trained with.
        """
        images = given(request, num, self.factor, self.channels)
        level = 0.0 if request.noise_level is None else request.noise_level
        if not 0 <= level <= self.noise:
            raise ValueError(
                f"noise_level must lie in 0 to {self.noise}, what was trained with, got {level}"
            )
        seeds = np.broadcast_to(0 if request.seed is None else request.seed, num)
        noise = [
            np.random.default_rng((int(seed), i)).normal(size=images.shape[1:])
            for i, seed in enumerate(seeds)
        ]
        noised = np.sqrt(1 - level**2) * images + level * np.stack(noise)
        told = {
            "low_res": noised.astype(np.float32),
            "noise_level": np.full(num, level, np.float32),
        }
        return told, dict(told)  # to be guided away from it makes no sense

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Nothing is dropped: the small images are noised."""
        level_key, noise_key = jax.random.split(key)
        small = told["low_res"]
        level = self.noise * jax.random.uniform(level_key, small.shape[:1])
        each = level[:, None, None, None]
        noised = jnp.sqrt(1 - each**2) * small + each * jax.random.normal(noise_key, small.shape)
        return {"low_res": noised, "noise_level": level}

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """The small images at full size, and what the network is told of their noise."""
        waves = sinusoidal_embedding(1000 * jnp.asarray(told["noise_level"]), _WAVES)
        return {"channels": enlarged(told["low_res"], self.factor), "embedding": waves}


def given(request: Any, num: int, factor: int, channels: int | None = 3) -> np.ndarray:
    """A request's small images `[num, h, w, C]` in [-1, 1].

    Args:
        request: `low_res` is one image or `num`; `height` and `width` are the samples'.
        num: samples.
        factor: of the sides.
        channels: C; None: any.

    Raises:
        ValueError: none, another number, of other channels, or of a size that, enlarged, is not the
            samples'.
    """
    if request.low_res is None:
        raise ValueError(
            "this model enlarges images: give low_res, a small image [h, w, C] or several (on the "
            "command line --low-res F, or --then after another model)"
        )
    try:
        images = image_range.as_images(request.low_res, num, channels)
    except ValueError as error:
        raise ValueError(f"low_res: {error}") from None
    height, width = (factor * side for side in images.shape[1:3])
    if (height, width) != (request.height, request.width):
        raise ValueError(
            f"low_res: expected images of {request.height / factor:g}x{request.width / factor:g} "
            f"for samples of {request.height}x{request.width}, got {images.shape[1]}x"
            f"{images.shape[2]}: resize them, or ask for height {height} and width {width}"
        )
    return images


def shrunk(images: np.ndarray, factor: int) -> np.ndarray:
    """Means of `factor` x `factor` squares: `[..., H, W, C]` to `[..., H / factor, W / factor, C]`.

    Example:
        >>> shrunk(np.array([[[0.0], [2.0]], [[4.0], [6.0]]]), 2).tolist()
        [[[3.0]]]
    """
    *rest, height, width, channels = images.shape
    squares = images.reshape(*rest, height // factor, factor, width // factor, factor, channels)
    return squares.mean(axis=(-4, -2), dtype=np.float32)


def enlarged(images: Any, factor: int) -> Array:
    """Bicubic interpolation: `[B, h, w, C]` to `[B, factor h, factor w, C]`."""
    batch, height, width, channels = images.shape
    shape = (batch, factor * height, factor * width, channels)
    return jax.image.resize(jnp.asarray(images), shape, "cubic")
