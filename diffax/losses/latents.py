"""What keeps an autoencoder's latents in shape: a posterior's divergence, a codebook, nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from diffax.losses.vector_quantization import (
    book_of,
    counts_of,
    followed,
    nearest_codes,
    perplexity,
    revived,
)


class Latents(NamedTuple):
    """What an encoder's answer became.

    Attributes:
        plain: `[B, h, w, C]` as a diffusion model will see them, before any scaling.
        shown: what the decoder is shown while training.
        penalty: float32 scalar, in the unit of a mean over the images' numbers.
        state: the regularizer's state after this batch.
        metrics: float32 scalars.
    """

    plain: Array
    shown: Array
    penalty: Array
    state: Any
    metrics: dict[str, Array]


class Regularizer(Protocol):
    """A loss on latents; a frozen dataclass, so that a recipe can hold it.

    Attributes:
        quantizes: whether it is for networks with a codebook.
    """

    quantizes: bool

    def init(self, book: Array | None) -> Any:
        """State that is assigned and not learned, from the network's codes `[K, C]`."""

    def __call__(
        self, answer: Any, book: Array | None, state: Any, key: Array, numbers: int
    ) -> Latents:
        """Latents of an encoder's answer.

        Args:
            answer: a posterior with `mean`, `log_variance` and `sample`, or latents `[B, h, w, C]`.
            book: codes `[K, C]` that are learned, or None.
            state: as `init` made it.
            key: a random key.
            numbers: height x width x channels of an image.
        """


@dataclass(frozen=True)
class KL:
    """A posterior drawn towards the standard normal (Kingma & Welling 2014)."""

    weight: float = 1e-6
    """Of the divergence's sum over an example's latents beside the sum over its image's errors,
    >= 0; latent diffusion's is 1e-6."""

    quantizes = False

    def __post_init__(self) -> None:
        """Checks the weight."""
        _not_negative("weight", self.weight)

    def init(self, book: Array | None) -> dict:
        """Nothing."""
        return {}

    def __call__(
        self, answer: Any, book: Array | None, state: Any, key: Array, numbers: int
    ) -> Latents:
        """A draw, and `KL(q(z | x) || N(0, 1))` (Kingma & Welling 2014, appendix B)."""
        mean, log_variance = answer.mean, answer.log_variance
        each = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
        divergence = jnp.sum(each, dtype=jnp.float32) / len(mean)
        drawn = answer.sample(jax.random.normal(key, mean.shape))
        metrics = {"kl": divergence, "posterior_std": jnp.mean(jnp.exp(0.5 * log_variance))}
        return Latents(mean, drawn, self.weight * divergence / numbers, state, metrics)


@dataclass(frozen=True)
class Plain:
    """The posterior's mean, and nothing else: a plain autoencoder."""

    quantizes = False

    def init(self, book: Array | None) -> dict:
        """Nothing."""
        return {}

    def __call__(
        self, answer: Any, book: Array | None, state: Any, key: Array, numbers: int
    ) -> Latents:
        """The mean."""
        return Latents(answer.mean, answer.mean, jnp.float32(0), state, {})


@dataclass(frozen=True)
class Codes:
    """Vector quantization (van den Oord et al. 2017); the gradient passes straight through."""

    commitment: float = 0.25
    """Weight, >= 0, of the latents' squared distance from their codes, which moves the encoder."""
    decay: float | None = 0.99
    """Of the moving averages that the codes are, in [0, 1); None: the codes are learned by the
    optimizer, from the same distance."""
    revive: float = 0.02
    """Codes used less than this share of the even share are moved onto latents of the batch; 0:
    never. Only with a decay."""

    quantizes = True

    def __post_init__(self) -> None:
        """Checks every number."""
        _not_negative("commitment", self.commitment)
        _not_negative("revive", self.revive)
        if self.decay is not None and not 0 <= self.decay < 1:
            raise ValueError(f"regularizer.decay must lie in [0, 1) or be None, got {self.decay}")

    def init(self, book: Array | None) -> Any:
        """Counts and totals whose quotient is `book`."""
        if book is None:
            raise ValueError("regularizer codes needs a network with a codebook, such as vq_model")
        return {} if self.decay is None else {"count": jnp.ones(len(book)), "total": book}

    def book(self, state: Any) -> Array:
        """The codes `[K, C]` that a state stands for."""
        return book_of(state["count"], state["total"])

    def __call__(
        self, answer: Any, book: Array | None, state: Any, key: Array, numbers: int
    ) -> Latents:
        """Straight through to the nearest codes, and the commitment (eq. 3)."""
        z = answer
        book = self.book(state) if book is None else book
        codes = nearest_codes(jax.lax.stop_gradient(z), jax.lax.stop_gradient(book))
        still = jax.lax.stop_gradient
        chosen = book[codes]
        penalty = self.commitment * jnp.mean((z - still(chosen)) ** 2, dtype=jnp.float32)
        if self.decay is None:
            penalty += jnp.mean((still(z) - chosen) ** 2, dtype=jnp.float32)
        used = counts_of(codes, len(book))
        metrics = {
            "codes_used": jnp.mean(used > 0, dtype=jnp.float32),
            "code_perplexity": perplexity(used),
        }
        if self.decay is not None:
            count, total = followed(state["count"], state["total"], still(z), codes, self.decay)
            count, total, dead = revived(count, total, still(z), key, self.revive)
            state, metrics["codes_dead"] = {"count": count, "total": total}, dead
        return Latents(z, z + still(chosen - z), penalty, state, metrics)


REGULARIZERS: dict[str, type] = {"kl": KL, "plain": Plain, "codes": Codes}


def _not_negative(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"regularizer.{name} must be >= 0 and finite, got {value}")
