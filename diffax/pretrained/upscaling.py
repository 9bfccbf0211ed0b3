"""The published x4 upscaler is told a small image, noised a little, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.conditioning.low_res import given
from diffax.noun import noun, structure
from diffax.schedules import Schedule

LEVEL = 20  # of the noise, where a request says none


@noun
class PublishedLowRes:
    """A small image beside the text (Stable Diffusion's x4 upscaler).

    The condition is `{"channels": [B, h, w, 3], "label": int32 [B]}`: the small image, noised as
    at one of the steps of a noise schedule (Ho et al. 2021, section 4.2), and which.

    Attributes:
        schedule: that schedule.
        most: the greatest step that was trained with.
        factor: sides of the result over those of the small image.
    """

    schedule: Schedule
    most: int = structure(default=350)
    factor: int = structure(default=4)

    reads: ClassVar[tuple[str, ...]] = ("x",)
    asks: ClassVar[tuple[str, ...]] = ("low_res", "noise_level")
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def fitted(self, spec: Any) -> PublishedLowRes:
        """Refused: training the published upscaler is not supported.

        Raises:
            ValueError: always.
        """
        raise ValueError("training the published upscaler is not supported; see recipe upscale")

    def init(self, key: Array) -> dict:
        """Nothing: there are no parameters."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def request(self, request: Any, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The small images, noised; the same for what is guided away from.

        Raises:
            ValueError: as `low_res.given`, or an unknown noise level.
        """
        images = given(request, num, self.factor)
        level = LEVEL if request.noise_level is None else request.noise_level
        if level != int(level) or not 0 <= level <= self.most:
            raise ValueError(
                f"noise_level of this model is a whole number from 0 to {self.most}, got {level}"
            )
        level = int(level)
        seeds = np.broadcast_to(0 if request.seed is None else request.seed, num)
        noise = np.stack([self.noise(int(s), i, images.shape[1:]) for i, s in enumerate(seeds)])
        point = self.schedule.at(jnp.asarray(level))
        noised = float(point.alpha) * images + float(point.sigma) * noise
        told = {"low_res": noised.astype(np.float32)}
        told |= {"noise_level": np.full(num, level, np.int32)}
        return told, dict(told)

    @staticmethod
    def noise(seed: int, i: int, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal noise of the i-th small image."""
        return np.random.default_rng((seed, i)).normal(size=shape)

    def drop(self, key: Array, told: dict[str, Any]) -> dict[str, Any]:
        """Nothing is dropped."""
        return told

    def encode(self, params: Any, told: Mapping[str, Any]) -> dict[str, Array]:
        """The noised images, and their noise level as a label."""
        return {
            "channels": jnp.asarray(told["low_res"]),
            "label": jnp.asarray(told["noise_level"]),
        }
