"""Diffusion of tokens: how they become noise, what a guess of them says, and the way back.

A point's `alpha` is the probability that a token is still its own, `sigma = 1 - alpha` that it is
noise: the mask (`Absorbing`), or a token drawn evenly (`UniformTokens`). Tokens are int32
`[B, ...]` in `0 .. size - 1`. Everything here is exact: posteriors by Bayes' rule, ratios of
probabilities by the marginals of the process.
"""

from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import noun, structure
from diffax.schedules import Point

_NEVER = -1e9  # the log-probability of what cannot be: finite, so that differences are
_LAST = 1 - 2.0**-24  # the largest uniform number below 1


class Process(Protocol):
    """How data become noise. `gaussian.GaussianProcess` is the one of all but tokens.

    Noise is standard normal for all of them, one number an entry, from which tokens take a uniform
    number by its distribution function: so the same noise gives one path through all times.
    """

    def begin(self, noise: Array, scale: ArrayLike) -> Array:
        """The state at the noisy end, `[B, ...]`; `scale` is the grid's first sigma."""

    def noised(self, x0: Array, noise: Array, point: Point) -> Array:
        """`x_t` from clean data."""

    def with_known(self, x: Array, known: Array, mask: Array) -> Array:
        """The first state of a run that keeps `known` where mask is 0."""

    def kept(self, known: Array, noise: Array, point: Point) -> Array:
        """What stands at `point` where `known` is kept."""


@noun
class Absorbing:
    """Tokens become the mask, and stay it (Austin et al. 2021; Sahoo et al. 2024).

    Attributes:
        size: V; the mask is the token V, which no network guesses.

    Example:
        >>> process, point = Absorbing(5), Point(*jnp.array([0.5, 0.5, 0.5]))
        >>> process.noised(jnp.array([[3, 3]]), jnp.array([[-1.0, 1.0]]), point).tolist()
        [[5, 3]]
    """

    size: int = structure()

    @property
    def states(self) -> int:
        """How many states a token has: with the mask."""
        return self.size + 1

    def begin(self, noise: Array, scale: ArrayLike) -> Array:
        """Nothing but masks."""
        return jnp.full(noise.shape, self.size, jnp.int32)

    def noised(self, x0: Array, noise: Array, point: Point) -> Array:
        """Each token masked with probability sigma: `q(x_t | x_0)`, Sahoo et al. 2024, eq. 1."""
        return jnp.where(_uniform(noise) < point.broadcast(noise).sigma, self.size, x0)

    def with_known(self, x: Array, known: Array, mask: Array) -> Array:
        """What is kept is seen from the first step on."""
        return jnp.where(mask > 0, x, known)

    def kept(self, known: Array, noise: Array, point: Point) -> Array:
        """`known` itself: given what is known, the rest is the same wherever it is masked."""
        return known

    def read(self, logits: Array, x: Array, point: Point) -> Array:
        """Log-probabilities of x0 `[..., V]`: never the mask; what is no mask is carried over.

        The two properties SUBS of Sahoo et al. 2024, section 3.2.3.
        """
        own = _certain(x, self.size)
        return jnp.where((x == self.size)[..., None], jax.nn.log_softmax(logits), own)

    def posterior(self, log_probs: Array, x: Array, current: Point, next: Point) -> Array:
        """`p(x_s | x_t)`, probabilities `[..., V + 1]` (Sahoo et al. 2024, eq. 6 and 7)."""
        current, next = current.broadcast(log_probs), next.broadcast(log_probs)
        stays = next.sigma / current.sigma
        shown = (next.alpha - current.alpha) / current.sigma * jnp.exp(log_probs)
        masked = jnp.concatenate([shown, stays * jnp.ones_like(shown[..., :1])], axis=-1)
        return jnp.where(
            (x == self.size)[..., None], masked, jax.nn.one_hot(x, self.states, dtype=masked.dtype)
        )

    def jumps(self, log_probs: Array, x: Array, point: Point) -> Array:
        """`p_t(y) / p_t(x)` for every token y that x can become, `[..., V]`: Lou et al. 2024."""
        point = point.broadcast(log_probs)
        ratio = point.alpha / point.sigma * jnp.exp(log_probs)
        return jnp.where((x == self.size)[..., None], ratio, 0.0)

    def prior(self, point: Point) -> Array:
        """Nats a token of the noisiest state: the share that is no mask yet, coded evenly."""
        return point.alpha * jnp.log(self.size)


@noun
class UniformTokens:
    """Tokens become others, all equally likely (Hoogeboom et al. 2021; Austin et al. 2021).

    Attributes:
        size: V, how many tokens there are.

    Example:
        >>> UniformTokens(4).begin(jnp.array([[-3.0, -0.1, 0.1, 3.0]]), 1.0).tolist()
        [[0, 1, 2, 3]]
    """

    size: int = structure()

    @property
    def states(self) -> int:
        """How many states a token has."""
        return self.size

    def begin(self, noise: Array, scale: ArrayLike) -> Array:
        """Even tokens."""
        return jnp.floor(_uniform(noise) * self.size).astype(jnp.int32)

    def noised(self, x0: Array, noise: Array, point: Point) -> Array:
        """Each token drawn anew with probability sigma."""
        sigma = point.broadcast(noise).sigma
        share = _uniform(noise) / jnp.maximum(sigma, 1e-12)  # below 1, uniform, where drawn anew
        drawn = jnp.floor(jnp.minimum(share, _LAST) * self.size).astype(jnp.int32)
        return jnp.where(share < 1, drawn, x0)

    def with_known(self, x: Array, known: Array, mask: Array) -> Array:
        """Noise everywhere: the network cannot tell what is known."""
        return x

    def kept(self, known: Array, noise: Array, point: Point) -> Array:
        """As noisy as the rest."""
        return self.noised(known, noise, point)

    def read(self, logits: Array, x: Array, point: Point) -> Array:
        """Log-probabilities of x0, `[..., V]`, by Bayes' rule: what x itself says is put in here.

        So the logits are of what the other tokens say: `p(x_0 | x_t) ~ exp(logits) q(x_t | x_0)`.
        """
        at = point.broadcast(logits)
        evidence = jnp.log1p(at.alpha * self.size / jnp.maximum(at.sigma, 1e-12))
        own = jax.nn.one_hot(x, self.size, dtype=logits.dtype)
        return jax.nn.log_softmax(logits + evidence * own)

    def posterior(self, log_probs: Array, x: Array, current: Point, next: Point) -> Array:
        """`p(x_s | x_t)`, probabilities `[..., V]`, the mean over x0 of Bayes' posteriors.

            q(x_s = k | x_t = j, x_0 = i) = q(j | k) q(k | i) / q(j | i)

        (Austin et al. 2021, eq. 3), each of the three a step of this process.
        """
        size = self.size
        own = jax.nn.one_hot(x, size, dtype=log_probs.dtype)
        current, next = current.broadcast(log_probs), next.broadcast(log_probs)
        within = current.alpha / jnp.maximum(next.alpha, 1e-12)  # alpha of the step between
        weight = jnp.exp(log_probs) / (current.alpha * own + current.sigma / size)
        total = jnp.sum(weight, axis=-1, keepdims=True)
        return (within * own + (1 - within) / size) * (
            next.alpha * weight + next.sigma / size * total
        )

    def jumps(self, log_probs: Array, x: Array, point: Point) -> Array:
        """`p_t(y) / p_t(x) / V` for every token y that x can become, `[..., V]`."""
        size = self.size
        own = jax.nn.one_hot(x, size, dtype=log_probs.dtype)
        point = point.broadcast(log_probs)
        other = jnp.maximum(point.sigma / size, 1e-12)
        same = point.alpha + other
        probs = jnp.exp(log_probs)
        stays = jnp.sum(probs * own, axis=-1, keepdims=True)
        # E[q(y | x0) / q(x | x0)] over the guess of x0, which is x, y, or neither of them.
        ratio = stays * other / same + probs * same / other + (1 - stays - probs)
        return jnp.where(own > 0, 0.0, ratio / size)

    def prior(self, point: Point) -> Array:
        """Nats a token of the noisiest state: `KL(q(x_1 | x_0) || even)`."""
        other = point.sigma / self.size
        same = point.alpha + other

        def term(p: Array) -> Array:
            return jax.scipy.special.xlogy(p, p * self.size)

        return term(same) + (self.size - 1) * term(other)


PROCESSES: dict[str, type] = {"absorbing": Absorbing, "uniform": UniformTokens}


@noun
class Categorical:
    """A guess of clean tokens.

    Attributes:
        log_probs: of every token, `[B, ..., V]` float32.
        process: how the tokens became noise.
    """

    log_probs: Array
    process: Any

    @property
    def x0(self) -> Array:
        """The likeliest tokens, int32 `[B, ...]`."""
        return jnp.argmax(self.log_probs, axis=-1).astype(jnp.int32)

    def away_from(self, bad: "Categorical", scale: ArrayLike) -> "Categorical":
        """Guidance: `log p = log p_good + (scale - 1)(log p_good - log p_bad)`, normalized.

        Args:
            bad: what to steer away from.
            scale: a number, or one an example, `[B]`.
        """
        good = self.log_probs
        scale = jnp.asarray(scale, good.dtype)
        scale = scale.reshape(scale.shape + (1,) * (good.ndim - 1)) if scale.ndim else scale
        mixed = good + (scale - 1) * (good - bad.log_probs)
        return Categorical(jax.nn.log_softmax(mixed), self.process)


class TokenDenoiser(Protocol):
    """Anything that guesses clean tokens, as a `Denoiser` does data."""

    def __call__(self, x: Array, point: Point) -> Categorical:
        """Guess them from `x` (`[B, ...]`) at a scalar or `[B]` point."""


@noun
class Logits:
    """What a network of tokens is asked for: a logit for every token that an entry may be.

    Attributes:
        process: how the tokens became noise.

    Example:
        >>> point = Point(*jnp.array([0.5, 0.5, 0.5]))
        >>> guess = Logits(Absorbing(3)).read(jnp.zeros((1, 2, 3)), jnp.array([[3, 1]]), point)
        >>> jnp.exp(guess.log_probs)[0].round(2).tolist()[1]
        [0.0, 1.0, 0.0]
    """

    process: Any

    discrete: ClassVar[bool] = True

    def network_input(self, x: Array, point: Point) -> tuple[Array, Array]:
        """The tokens, and the time."""
        return x, point.t

    def read(self, output: Array, x: Array, point: Point) -> Categorical:
        """The network's answer `[B, ..., V]` as a guess."""
        logits = output.astype(jnp.float32)
        return Categorical(self.process.read(logits, x, point), self.process)


def certain(tokens: Array, process: Any) -> Categorical:
    """The guess that knows: all probability on `tokens`, `[B, ...]`."""
    return Categorical(_certain(tokens, process.size), process)


def _certain(tokens: Array, size: int) -> Array:
    return jnp.where(jax.nn.one_hot(tokens, size) > 0, 0.0, _NEVER)


def _uniform(noise: Array) -> Array:
    """Uniform numbers in [0, 1) of standard normal ones."""
    return jnp.minimum(jax.scipy.stats.norm.cdf(noise), _LAST)
