"""Diffusion of tokens: masked (Sahoo et al. 2024; Shi et al. 2024) or uniform (Lou et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array

from diffax import codecs, losses, schedules
from diffax.categorical import PROCESSES, Logits
from diffax.data import Spec
from diffax.losses import token_bound
from diffax.objectives.denoising import Denoising, DenoisingObjective, quartiles
from diffax.objectives.objective import Batch, Mean
from diffax.schedules.continuous import Continuous


@dataclass(frozen=True)
class TokenDiffusion:
    """A network learns which tokens noise has replaced, by the exact bound in continuous time.

    The loss is the variational bound in nats a token; the metric `bits` the same in bits, of a text
    bits a character.

    Example:
        >>> from diffax.data import Digits
        >>> from diffax.models import TokenTransformer
        >>> recipe = TokenDiffusion(network=TokenTransformer(features=16, depth=1))
        >>> recipe.build(Digits().load().spec).network.vocabulary
        17
    """

    network: Any
    """The Flax module: token_transformer, or one of your own that answers logits."""
    process: Literal["absorbing", "uniform"] = "absorbing"
    """How tokens become noise: absorbing (masks) or uniform (other tokens)."""
    schedule: Any = schedules.LinearFraction()
    """Which share is noise: linear_fraction, cosine_fraction, geometric_fraction."""
    times: Any = losses.Stratified()
    """Evenly drawn: stratified, uniform, antithetic."""
    conditioner: Any = None
    """What the network is told: nothing, labels; None: labels where the data have any."""
    codec: Any = None
    """Data <-> tokens: tokens (texts), levels (images), run_codes (an autoencoder's codes of
    images); None: by the kind of the data."""

    def build(self, spec: Spec) -> TokenObjective:
        """The objective for data that say this of themselves.

        Raises:
            ValueError: data that no codec makes tokens of, or parts that do not fit each other.
        """
        if self.process not in PROCESSES:
            raise ValueError(
                f"objective.process must be {' or '.join(PROCESSES)}, got {self.process!r}"
            )
        codec = self.codec
        if codec is None:
            codec = codecs.Levels() if spec.is_image else codecs.Tokens()
        codec = codec.fitted(spec)
        if not hasattr(codec, "size"):
            raise ValueError(
                f"objective token_diffusion needs a codec of tokens, got {type(codec).__name__}: "
                "take tokens (texts), levels or run_codes (images)"
            )
        schedule = self.schedule.build()
        if not isinstance(schedule, Continuous) or not _is_of_shares(schedule):
            raise ValueError(
                "objective token_diffusion needs a schedule of shares in continuous time: "
                "linear_fraction, cosine_fraction or geometric_fraction"
            )
        if not isinstance(self.times, losses.Uniform | losses.Stratified | losses.Antithetic):
            raise ValueError(
                "objective token_diffusion is an integral over all times: uniform, stratified or "
                "antithetic"
            )
        network = self.network
        if getattr(network, "vocabulary", codec.size) is None:
            network = network.clone(vocabulary=codec.size)
        built = Denoising(
            network=network,
            schedule=self.schedule,
            parameterization=Logits(PROCESSES[self.process](codec.size)),
            times=self.times,
            conditioner=self.conditioner,
            codec=codec,
        ).build(spec, TokenObjective)
        assert isinstance(built, TokenObjective)  # for type checkers
        return built


@dataclass(frozen=True)
class TokenObjective(DenoisingObjective):
    """`TokenDiffusion`, built for one data set; see `Objective`."""

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """The bound in nats a token, the same in bits, and its quartiles of time."""
        shown = self.shown(trainable, frozen, batch, key, train)
        denoiser: Any = shown.network  # of tokens
        nats, t = token_bound(
            denoiser,
            shown.x0,
            shown.key,
            schedule=shown.schedule,
            times=self.times,
            process=self.parameterization.process,
        )
        nats = nats / math.prod(self.shape)
        loss = jnp.mean(nats)
        return loss, {"bits": loss / math.log(2)} | quartiles(t, nats)

    def check_sampling(self, settings: Any) -> None:
        """Refuses settings of Gaussian noise."""
        if settings.clip is not None:
            raise ValueError("tokens cannot be clipped: set --sample.clip None")
        super().check_sampling(settings)

    def blank(self) -> Array:
        """One example of tokens 0."""
        return jnp.zeros((1, *self.shape), jnp.int32)

    def answer_shape(self) -> tuple[int, ...]:
        """A logit for every token that an entry may be."""
        return (*self.shape, self.parameterization.process.size)


def _is_of_shares(schedule: Continuous) -> bool:
    """Whether alpha and sigma are probabilities of the two things that a token can be."""
    middle = schedule.at(0.5)
    return abs(float(middle.alpha + middle.sigma) - 1) < 1e-6
