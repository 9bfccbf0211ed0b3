"""How 8-bit images are spread over their levels' bins, before a density is asked of them.

A density p of spread images bounds the probability P of the levels, for any density q of the place
u in the bins (Ho et al. 2019, Flow++, eq. 11):

    log P(x) >= E_q [log p(x + u) - log q(u | x)].

Evenly spread, q = 1. The nearer q is to p within the bin, the tighter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from diffax.compilation import jit
from diffax.gaussian import sum_over_example
from diffax.models import BoundModule, Dequantizer
from diffax.noun import check_range
from diffax.sampling import dequantized

Spread = Callable[[Array, Array], tuple[Array, Array]]
"""`(key, x0) -> (x0 spread over its bins, log q(u | x0) in nats [B])`, q on bins of size 1."""

LogDensity = Callable[[Any, Array, Array], Array]
"""`(denoiser, x0, key) -> log p [B]`."""


@dataclass(frozen=True)
class Even:
    """Evenly, `q = 1` (Theis et al. 2016)."""

    def fitted(
        self, log_density: LogDensity, examples: Iterable[tuple[Any, Array]], levels: int = 256
    ) -> Spread:
        """The spread; no example is looked at."""
        return functools.partial(spread_evenly, levels=levels)


@dataclass(frozen=True)
class Learned:
    """By a small network that learns q, before the likelihood is measured (Ho et al. 2019).

    Each place is the sigmoid of a logistic number that the network has shifted and scaled by what
    it sees of the image; unshifted and unscaled, as it begins, the spread is even. It learns on the
    split `train` what makes the bound the tightest; any q gives a bound.
    """

    steps: int = 100
    """Training steps."""
    batch_size: int = 16
    """Images of a step."""
    learning_rate: float = 1e-2
    """Of Adam, at the beginning; it falls to zero by a cosine."""
    width: int = 32
    """Channels of the network."""
    seed: int = 0
    """Of its first weights and of its noise."""

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in ("steps", "batch_size", "width"):
            check_range(f"dequantization {name}", getattr(self, name), least=1)
        check_range("dequantization learning_rate", self.learning_rate, above=0)

    def fitted(
        self, log_density: LogDensity, examples: Iterable[tuple[Any, Array]], levels: int = 256
    ) -> Spread:
        """The spread that was learned.

        Args:
            log_density: of spread images; differentiable.
            examples: for every step the denoiser, told its condition, and images in model space
                `[B, H, W, C]`.
            levels: how many values an entry can have, evenly in [-1, 1].

        Raises:
            ValueError: the bound is not finite.
        """
        module = Dequantizer(self.width)
        method = optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.steps))

        @jit
        def step(state: Any, denoiser: Any, x0: Array, key: Array) -> tuple[Any, Array]:
            def loss(params: Any) -> Array:
                spread_key, probe_key = jax.random.split(key)
                spread, log_q = spread_by(BoundModule(module, params), spread_key, x0, levels)
                return jnp.mean(log_q - log_density(denoiser, spread, probe_key))

            params, memory = state
            value, gradient = jax.value_and_grad(loss)(params)
            update, memory = method.update(gradient, memory, params)
            return (optax.apply_updates(params, update), memory), value

        key, state, values = jax.random.key(self.seed), None, []
        for i, (denoiser, x0) in zip(range(self.steps), examples, strict=False):
            if state is None:
                params = module.init(key, x0)
                state = (params, method.init(params))
            state, value = step(state, denoiser, x0, jax.random.fold_in(key, i))
            values.append(value)
        if state is None or not bool(jnp.isfinite(jnp.stack(values)).all()):
            raise ValueError(
                "learning where in their bins images lie failed: the bound is not finite; set a "
                "smaller dequantization.learning_rate, or dequantization even"
            )
        network = BoundModule(module, state[0])
        return lambda key, x0: spread_by(network, key, x0, levels)


def spread_evenly(key: Array, x0: Array, levels: int = 256) -> tuple[Array, Array]:
    """Images spread evenly, see `Spread`."""
    return dequantized(key, x0, levels), jnp.zeros(x0.shape[0])


def spread_by(network: Callable, key: Array, x0: Array, levels: int = 256) -> tuple[Array, Array]:
    """Images `[B, ...]` on a grid of `levels` values in [-1, 1], spread as a network says.

    Args:
        network: `x0 -> (shift, log_scale)`, both of the shape of x0.
        key: of the places.
        x0: the images.
        levels: how many values an entry can have.

    Returns:
        See `Spread`.
    """
    shift, log_scale = network(x0)
    drawn = jax.random.logistic(key, x0.shape)
    place = shift + jnp.exp(log_scale) * drawn  # u = sigmoid(place)
    log_q = _log_slope(drawn) - log_scale - _log_slope(place)
    spread = x0 + 2 / (levels - 1) * (jax.nn.sigmoid(place) - 0.5)
    return spread, sum_over_example(log_q)


def _log_slope(x: Array) -> Array:
    """Logarithm of the sigmoid's derivative, which is the logistic density."""
    return jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)


DEQUANTIZATIONS: dict[str, type] = {"even": Even, "learned": Learned}
