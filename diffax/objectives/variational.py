"""Variational diffusion: the bound on the likelihood is the loss (Kingma et al. 2021)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from diffax import losses, parameterization, schedules
from diffax.codecs import Pixels
from diffax.data import Spec
from diffax.losses.continuous import bits, continuous_bound
from diffax.objectives.denoising import Denoising, DenoisingObjective, quartiles
from diffax.objectives.objective import Batch, Mean
from diffax.schedules import Discrete, LearnedMonotone


@dataclass(frozen=True)
class Variational:
    """A network, and its noise schedule with it, learn to make 8-bit data likely.

    The loss is the variational bound in bits a dimension (Kingma et al. 2021, eq. 4 and 17), of
    all that the model says of an image: prior, reconstruction and diffusion are metrics.
    """

    network: Any
    """The Flax module; unet with fourier features reads fine detail."""
    schedule: Any = schedules.LearnedLinear()
    """Of a continuous time, with some noise at t = 0: learned_linear, learned_monotone."""
    parameterization: Any = parameterization.VDM()
    """What the network is asked for: vdm, eps, v."""
    times: Any = losses.Stratified()
    """Evenly drawn: stratified, uniform, antithetic."""
    conditioner: Any = None
    """What the network is told, as for denoising."""

    def build(self, spec: Spec) -> VariationalObjective:
        """The objective for data that say this of themselves.

        Raises:
            ValueError: data that are no 8-bit images, a schedule that is a table, or parts that do
                not fit each other.
        """
        if not spec.is_image:
            raise ValueError(
                "objective variational bounds the likelihood of 8-bit images, the data are "
                f"{spec.columns['x'].dtype} {list(spec.shape)}; use denoising"
            )
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        base = Denoising(**parts, codec=Pixels()).build(spec)
        is_table = isinstance(base.schedule, Discrete)
        if is_table or not float(base.schedule.at(0.0).sigma) > 0:
            raise ValueError(
                "objective variational needs a schedule of continuous time with some noise at "
                "t = 0, from which the levels are read: learned_linear"
            )
        if not isinstance(self.times, losses.Uniform | losses.Stratified | losses.Antithetic):
            raise ValueError(
                "objective variational is an integral over all times: uniform, stratified or "
                "antithetic"
            )
        return VariationalObjective(
            **{f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
        )


@dataclass(frozen=True)
class VariationalObjective(DenoisingObjective):
    """`Variational`, built for one data set; see `Objective`."""

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """The bound in bits a dimension, its terms, and the diffusion term's quartiles of time."""
        shown = self.shown(trainable, frozen, batch, key, train)
        schedule = shown.schedule
        shaped = isinstance(schedule, LearnedMonotone)
        terms = continuous_bound(
            shown.network,
            shown.x0,
            shown.key,
            schedule=schedule.ends if shaped else schedule,
            times=self.times,
            levels=jnp.linspace(-1, 1, 256),
        )
        t = terms.pop("t")
        rates = {name: bits(term, shown.x0) for name, term in terms.items()}
        metrics = {f"bits_{name}": jnp.mean(rate) for name, rate in rates.items()}
        value = sum(metrics.values(), jnp.zeros(()))
        if shaped:
            value += losses.spread(schedule.shape, t, terms["diffusion"])
        return value, metrics | quartiles(t, rates["diffusion"])
