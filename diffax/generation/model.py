"""`Model`: everything that is needed to sample, as one pytree."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffax.categorical import Process
from diffax.codecs import is_written
from diffax.gaussian import GaussianProcess
from diffax.models import parameter_count
from diffax.noun import noun, structure


@noun
class Model:
    """A trained run or a published folder, ready for `generate`.

    Attributes:
        network: a `BoundModule`: the network and its parameters.
        schedule: the noise schedule.
        parameterization: what the network was asked for.
        codec: model space -> data.
        conditioner: what a request says -> the network's condition.
        settings: how it is sampled where a request does not say: `Sampling`, or those of a
            published model; static.
        shape: of one sample in model space, where a request names no size; static.
        mesh: devices over which batches are spread, along the mesh's first axis; see `on`.
    """

    network: Any
    schedule: Any
    parameterization: Any
    codec: Any
    conditioner: Any
    settings: Any = structure()
    shape: tuple[int, ...] = structure()
    mesh: Mesh | None = structure(default=None)

    def __repr__(self) -> str:
        count = parameter_count(self.network.params)
        names = (
            type(part).__name__
            for part in (self.schedule, self.parameterization, self.codec, self.conditioner)
        )
        network = type(self.network.module).__name__
        return f"Model({network} of {count:,} parameters, {', '.join(names)}, {self.shape})"

    def on(self, mesh: Mesh) -> Model:
        """The same model with its parameters on every device of `mesh`.

        Batches are then split along the mesh's first axis, of which they must be multiples.

        Example:
            >>> import jax  # doctest: +SKIP
            >>> mesh = jax.make_mesh(
            ...     (8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))  # doctest: +SKIP
            >>> model = load_pipeline("stable-diffusion-v1-5").on(mesh)  # doctest: +SKIP
        """
        everywhere = NamedSharding(mesh, PartitionSpec())
        moved = {
            name: jax.device_put(getattr(self, name), everywhere)
            for name in ("network", "codec", "conditioner")
        }
        return dataclasses.replace(self, mesh=mesh, **moved)

    @property
    def process(self) -> Process:
        """How its data become noise."""
        return getattr(self.parameterization, "process", GaussianProcess())

    @property
    def makes_images(self) -> bool:
        """Whether its samples are images, of one or three channels."""
        images = len(self.shape) == 3 and (self.factor > 1 or self.shape[-1] in (1, 3))
        return images and not is_written(self.codec)

    @property
    def factor(self) -> int:
        """Pixels for each entry of model space, on each axis."""
        return getattr(self.codec, "factor", 1)
