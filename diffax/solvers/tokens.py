"""Solvers of discrete data: the state holds tokens, the guess is a `Categorical`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.categorical import Absorbing, TokenDenoiser
from diffax.noun import noun, number
from diffax.schedules import Point
from diffax.solvers.description import Description, Name, check_options, real
from diffax.solvers.keys import Keys, fold_in


@noun
class Ancestral:
    """Draws every token from its posterior (Austin et al. 2021, eq. 4; Sahoo et al. 2024, eq. 7).

        p(x_s | x_t) = sum over x_0 of  q(x_s | x_t, x_0) p(x_0 | x_t)

    Exact for one token however long the steps; tokens of one step are drawn independently.
    """

    description = Description(
        names=(Name("ancestral", "tokens: draws from the posterior, exact for many steps"),),
        paper="Austin et al. 2021, eq. 4; Sahoo et al. 2024, eq. 7",
        stochastic=True,
        discrete=True,
    )

    def init(self, x: Array, grid: Point) -> tuple:
        """Nothing."""
        return ()

    def step(
        self, denoiser: TokenDenoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """Draw from `p(x_s | x_t)`."""
        guess = denoiser(x, current)
        probs = guess.process.posterior(guess.log_probs, x, current, next)
        return _drawn(keys, jnp.log(probs)).astype(x.dtype), state


@noun
class TauLeaping:
    """Holds the rates of all jumps still for a step (Campbell et al. 2022, algorithm 1).

    A token jumps with probability `1 - exp(-rate)`, once at most, and where to goes by the rates,
    `rate_y = p_t(y) / p_t(x)` times the integral of beta over the step. The step into
    the clean end draws from the posterior, which leaves no noise.
    """

    description = Description(
        names=(Name("tau_leaping", "tokens: jumps at rates that stand still for a step"),),
        paper="Campbell et al. 2022, alg. 1",
        stochastic=True,
        discrete=True,
    )

    def init(self, x: Array, grid: Point) -> tuple:
        """Nothing."""
        return ()

    def step(
        self, denoiser: TokenDenoiser, x: Array, state: Any, current: Point, next: Point, keys: Keys
    ) -> tuple[Array, Any]:
        """Jump, or stay."""
        guess = denoiser(x, current)
        process = guess.process
        last = process.posterior(guess.log_probs, x, current, next)
        # Where nothing of the data is left, beta has no end; so little is as good as nothing.
        alpha = jnp.maximum(current.alpha, 1e-6)
        known = Point(current.t, alpha, 1 - alpha)
        beta = jnp.log(jnp.maximum(next.alpha, 1e-6)) - jnp.log(alpha)
        rates = beta * process.jumps(guess.log_probs, x, known)
        total = jnp.sum(rates, axis=-1, keepdims=True)
        jump = -jnp.expm1(-total) * rates / jnp.maximum(total, 1e-30)
        jump = jnp.pad(jump, [(0, 0)] * (jump.ndim - 1) + [(0, process.states - process.size)])
        stay = jnp.exp(-total) * jax.nn.one_hot(x, process.states, dtype=jump.dtype)
        probs = jnp.where(next.sigma > 0, jump + stay, last)
        return _drawn(keys, jnp.log(probs)).astype(x.dtype), state


@noun
class Confident:
    """Unmasks the tokens that the network is surest of first (Chang et al. 2022, MaskGIT).

    Of n tokens masked at the start, `n sigma` are still masked at a point. A token is drawn for
    every mask; those stay whose probability, with Gumbel noise on its logarithm, is greatest.

    Attributes:
        temperature: of the drawn tokens; 0 takes the likeliest.
        randomness: scale of the Gumbel noise at the start, from where it shrinks with sigma; 0
            orders by confidence alone, a large number at random.
    """

    description = Description(
        names=(Name("confident", "masked tokens: the surest first", also=("maskgit",)),),
        paper="Chang et al. 2022, section 3.2",
        order=0,
        stochastic=True,
        options={
            "temperature": real("of the drawn tokens"),
            "randomness": real("of the order in which masks go"),
        },
        discrete=True,
    )

    temperature: ArrayLike = number(default=1.0)
    randomness: ArrayLike = number(default=4.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_options(self)

    def init(self, x: Array, grid: Point) -> Array:
        """How many tokens of each example are masked at the start: -1, until they are seen."""
        return jnp.full(x.shape[:1], -1, jnp.int32)

    def step(
        self,
        denoiser: TokenDenoiser,
        x: Array,
        state: Array,
        current: Point,
        next: Point,
        keys: Keys,
    ) -> tuple[Array, Array]:
        """Fill the surest masks."""
        guess = denoiser(x, current)
        process = guess.process
        if not isinstance(process, Absorbing):
            raise ValueError(
                "sampler confident fills masks, which this model has none of: use ancestral"
            )
        masked = x == process.size
        count = jnp.where(state < 0, _flat(masked).sum(axis=-1), state)
        # Probability 0 at temperature 0: the likeliest alone.
        cooled = guess.log_probs / jnp.maximum(self.temperature, 1e-6)
        token = _drawn(keys, cooled)
        sure = jnp.take_along_axis(guess.log_probs, token[..., None], axis=-1)[..., 0]
        gumbel = _gumbel(fold_in(keys, 1), sure)
        sure = sure + self.randomness * current.sigma * gumbel
        left = jnp.round(count * next.sigma).astype(jnp.int32)
        order = jnp.argsort(jnp.where(_flat(masked), _flat(sure), -jnp.inf), axis=-1)
        rank = jnp.argsort(order, axis=-1)  # 0 for what is no mask, or the least sure
        others = (~_flat(masked)).sum(axis=-1)
        stays = (rank - others[:, None] < left[:, None]).reshape(x.shape)
        return jnp.where(masked & ~stays, token.astype(x.dtype), x), count


def _drawn(keys: Keys, log_probs: Array) -> Array:
    """A token for every entry, row i from key i."""
    return jax.vmap(lambda key, rows: jax.random.categorical(key, rows))(keys, log_probs)


def _gumbel(keys: Keys, like: Array) -> Array:
    return jax.vmap(lambda key: jax.random.gumbel(key, like.shape[1:], like.dtype))(keys)


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)
