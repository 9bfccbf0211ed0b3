"""Features of control images, read once by T2I-Adapters before the run begins."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.conditioning.conditioner import Condition, Told
from diffax.conditioning.control import given
from diffax.models.bound import BoundModule
from diffax.noun import noun


@noun
class Features:
    """One image for each T2I-Adapter; their features, scaled, are added up (Mou et al. 2023).

    The condition is `{"features_0": [B, h, w, C], ...}`, finest first.

    Attributes:
        adapters: `T2IAdapter`s with their parameters.
    """

    adapters: tuple[BoundModule, ...]

    reads: ClassVar[tuple[str, ...]] = ("control",)
    asks: ClassVar[tuple[str, ...]] = ("control", "control_scale")
    trained: ClassVar[bool] = False

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each adapter's image."""
        return tuple(adapter.module.in_channels for adapter in self.adapters)

    @property
    def params(self) -> dict[str, Any]:
        """The adapters' parameters, `{"adapter_0": ..., ...}`."""
        return {f"adapter_{i}": adapter.params for i, adapter in enumerate(self.adapters)}

    def with_params(self, params: Mapping[str, Any]) -> "Features":
        """The conditioner with other parameters of its adapters."""
        adapters = (
            BoundModule(adapter.module, params[f"adapter_{i}"])
            for i, adapter in enumerate(self.adapters)
        )
        return dataclasses.replace(self, adapters=tuple(adapters))

    def fitted(self, spec: Any) -> "Features":
        """Itself; the data must have a column "control"."""
        if "control" not in spec.columns:
            raise ValueError("a T2I-Adapter needs data with control images, these have none")
        return self

    def init(self, key: Array) -> dict[str, Any]:
        """The adapters' parameters: nothing is drawn."""
        return self.params

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images, uint8 or floats in [-1, 1], and a scale of 1."""
        images = batch["control"]
        scale = np.ones((len(images), len(self.adapters)), np.float32)
        return {"control": images, "control_scale": scale}

    def request(self, request: Any, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The images and their scales, the same for what the samples are guided away from."""
        images, scales = given(request, self.channels, num)
        told = {
            "control": np.concatenate(images, axis=-1),
            "control_scale": np.tile(np.asarray(scales, np.float32), (num, 1)),
        }
        return told, dict(told)

    def drop(self, key: Array, told: Told) -> Told:
        """Nothing is dropped: a control is always followed."""
        return told

    def encode(self, params: Mapping[str, Any], told: Told) -> Condition:
        """The adapters' features."""
        images = jnp.asarray(told["control"])
        if images.dtype == jnp.uint8:
            images = image_range.to_float(images)
        images, begin = (images.astype(jnp.float32) + 1) / 2, 0
        total: list[Any] = []
        for i, (adapter, width) in enumerate(zip(self.adapters, self.channels, strict=True)):
            own: Any = adapter.module.apply(
                params[f"adapter_{i}"], images[..., begin : begin + width]
            )
            begin += width
            scale = jnp.asarray(told["control_scale"])[:, i, None, None, None]
            scaled = [scale * feature.astype(jnp.float32) for feature in own]
            total = [a + b for a, b in zip(total, scaled, strict=True)] if total else scaled
        return {f"features_{i}": feature for i, feature in enumerate(total)}
