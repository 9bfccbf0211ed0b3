"""Guidance away from a second guess: classifier-free guidance and autoguidance."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.categorical import Categorical
from diffax.denoiser import Denoiser, Network
from diffax.noun import check_range, noun, number, structure
from diffax.parameterization import X0, Parameterization, Prediction
from diffax.schedules import Point
from diffax.schedules.point import along_batch

Interval = tuple[ArrayLike, ArrayLike]  # of noise levels, (low, high)
Branch = Callable[[None], Prediction]


@noun
class ClassifierFree:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6): `(1 + w) eps_c - w eps_u`.

    Here `scale = 1 + w`, so that it is `eps_u + scale (eps_c - eps_u)`: scale 1 is the conditional
    guess, 0 the unconditional one. x0 is mixed alike; of tokens, the log-probabilities are.

    Attributes:
        network: the conditional network.
        null: the condition that means "none", or a negative condition to steer away from, shaped
            like `network.condition`.
        scale: guidance scale, scalar or `[B]`; traced, so changing it never recompiles.
        rescale: share, in `[0, 1]`, in which the guided output gets back the standard deviation of
            the conditional one (Lin et al. 2023, eq. 15-16; they take 0.7); None is none.
        interval: `(low, high)`, guide only where `low < sigma / alpha <= high` (Kynkäänniemi et al.
            2024, eq. 4), elsewhere the conditional guess costs half; None is everywhere.
        batched: one network call on twice the batch; False is two calls, for half the memory.
    """

    network: Network
    null: Any
    scale: ArrayLike = number(default=3.0)
    rescale: ArrayLike | None = number(default=None)
    interval: Interval | None = number(default=None)
    batched: bool = structure(default=True)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        _check(self.scale, self.rescale, self.interval)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guided guess."""

        def guided(_: None) -> Prediction:
            conditional, unconditional = self._both(x, point)
            guess = _extrapolated(conditional, unconditional, self.scale, x)
            if self.rescale is None:
                return guess
            reading = self.network.parameterization
            return rescaled(guess, conditional, x, point, self.rescale, reading)

        return _inside(self.interval, point, guided, lambda _: self.network(x, point))

    def _both(self, x: Array, point: Point) -> tuple[Prediction, Prediction]:
        null = jax.tree.map(
            lambda c, n: jnp.broadcast_to(n, jnp.shape(c)), self.network.condition, self.null
        )
        if not self.batched:
            return self.network(x, point), self._told(null)(x, point)
        both = jax.tree.map(
            lambda c, n: jnp.concatenate([jnp.asarray(c), n]), self.network.condition, null
        )
        twice = point if jnp.ndim(point.t) == 0 else jax.tree.map(lambda f: jnp.tile(f, 2), point)
        guess = self._told(both)(jnp.concatenate([x, x]), twice)
        size = x.shape[0]
        return jax.tree.map(lambda f: f[:size], guess), jax.tree.map(lambda f: f[size:], guess)

    def _told(self, condition: Any) -> Network:
        return Network(
            self.network.apply, self.network.params, condition, self.network.parameterization
        )


@noun
class Guided:
    """Guidance of one denoiser away from another: `bad + scale (good - bad)`. Two calls.

    With a smaller or less trained model as `bad` this is autoguidance (Karras et al. 2024, eq. 4);
    with the same network under another condition, classifier-free guidance.

    Attributes:
        good: the denoiser to follow.
        bad: the denoiser to steer away from.
        scale: guidance scale, scalar or `[B]`; 1 is `good` alone.
        rescale: as in `ClassifierFree`, on the output that `reading` names.
        interval: as in `ClassifierFree`.
        reading: which output is rescaled.
    """

    good: Denoiser
    bad: Denoiser
    scale: ArrayLike = number(default=2.0)
    rescale: ArrayLike | None = number(default=None)
    interval: Interval | None = number(default=None)
    reading: Parameterization = X0()

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        _check(self.scale, self.rescale, self.interval)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guided guess."""

        def guided(_: None) -> Prediction:
            good = self.good(x, point)
            guess = _extrapolated(good, self.bad(x, point), self.scale, x)
            if self.rescale is None:
                return guess
            return rescaled(guess, good, x, point, self.rescale, self.reading)

        return _inside(self.interval, point, guided, lambda _: self.good(x, point))


def rescaled(
    guess: Prediction,
    conditional: Prediction,
    x: Array,
    point: Point,
    share: ArrayLike,
    reading: Parameterization,
) -> Prediction:
    """The guided output with the conditional one's spread (Lin et al. 2023, eq. 15-16).

    `x_rescaled = x_cfg std(x_pos) / std(x_cfg)`, `x_final = share x_rescaled + (1 - share) x_cfg`,
    where x is the output that `reading` names.

    Args:
        guess: the guided guess.
        conditional: the guess whose standard deviation, over each example, is taken.
        x: the state, `[B, ...]`.
        point: where it is.
        share: how much of it, in `[0, 1]`.
        reading: the network's parameterization, on whose output it works.
    """
    output = reading.target(guess.x0, guess.eps, point)
    wanted = reading.target(conditional.x0, conditional.eps, point)
    axes = tuple(range(1, x.ndim))
    ratio = jnp.std(wanted, axis=axes, keepdims=True) / jnp.std(output, axis=axes, keepdims=True)
    read = reading.read(output * (ratio * share + (1 - share)), x, point)
    return Prediction(read.x0, read.eps, guess.log_variance)


def _check(scale: ArrayLike, rescale: ArrayLike | None, interval: Interval | None) -> None:
    check_range("scale", scale)
    if rescale is not None:
        check_range("rescale", rescale, least=0, most=1)
    if interval is not None and len(interval) != 2:
        raise ValueError(f"interval should be (low, high), got {interval!r}")


def _extrapolated(good: Any, bad: Any, scale: ArrayLike, x: Array) -> Any:
    """A `Prediction` of two, or a `Categorical`."""
    if isinstance(good, Categorical):
        return good.away_from(bad, scale)
    scale = along_batch(jnp.asarray(scale, good.x0.dtype), x)

    def mix(g: Array, b: Array) -> Array:
        # Written so that equal branches give back exactly that branch at every scale.
        return g + (scale - 1) * (g - b)

    return Prediction(mix(good.x0, bad.x0), mix(good.eps, bad.eps), good.log_variance)


def _inside(interval: Interval | None, point: Point, guided: Branch, plain: Branch) -> Prediction:
    """`guided` inside the interval of noise levels, `plain` outside."""
    if interval is None:
        return guided(None)
    low, high = interval
    level = point.sigma_ratio
    inside = (level > low) & (level <= high)
    if jnp.ndim(inside) == 0:
        return jax.lax.cond(inside, guided, plain, None)

    def choose(g: Array, p: Array) -> Array:
        return jnp.where(along_batch(inside, g), g, p)

    return jax.tree.map(choose, guided(None), plain(None))
