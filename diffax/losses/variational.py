"""The variational bound (Ho et al. 2020, eq. 5), and variances learned from it."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.gaussian import Gaussian
from diffax.noun import check_range, noun, number, structure
from diffax.parameterization import Prediction
from diffax.schedules import Discrete, Schedule
from diffax.schedules.point import along_batch


def prior_kl(x0: Array, schedule: Schedule) -> Array:
    """`L_T = KL(q(x_T | x_0) || N(0, I))` in nats an example, `[B]` (Ho et al. 2020, eq. 5).

    Args:
        x0: clean data, `[B, ...]`.
        schedule: whose start is `x_T`.
    """
    q = gaussian.marginal(x0, schedule.start)
    return gaussian.sum_over_example(gaussian.kl(q, Gaussian(jnp.zeros_like(x0), jnp.ones(()))))


def bound_term(
    denoiser: Denoiser,
    x0: Array,
    eps: Array,
    schedule: Discrete,
    t: Array,
    *,
    variance: str = "fixed_large",
    clip_x0: bool = True,
    levels: int | None = 256,
) -> Array:
    """One term of the variational bound (Ho et al. 2020, eq. 5).

    `L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))`, or `L_0 = -log p(x_0 | x_1)` where
    `t = 0` (times count from 0 here and from 1 in the paper).

    Args:
        denoiser: guesses x0.
        x0: data, `[B, ...]`; with `levels`, on their grid in `[-1, 1]`.
        eps: standard normal noise, shaped like `x0`.
        schedule: a discrete schedule.
        t: times, `[B]`, whole numbers in `0 .. T-1`.
        variance: the reverse step's: `fixed_small` (beta tilde), `fixed_large` (beta),
            `learned_range` or `learned`, from the prediction.
        clip_x0: clip the guess to `[-1, 1]`, as DDPM does.
        levels: number of values an entry can take, 256 for 8-bit data; None: data of real numbers,
            whose `L_0` is a density.

    Returns:
        The term in nats an example, `[B]`.
    """
    at_t, at_s = schedule.at(t), schedule.at(t - 1)
    x = gaussian.q_sample(x0, eps, at_t)
    prediction = denoiser(x, at_t)
    guess = jnp.clip(prediction.x0, -1, 1) if clip_x0 else prediction.x0
    truth = gaussian.posterior(x, x0, at_t, at_s)
    is_decoder = along_batch(t == 0, x0)
    # The decoder's own beta tilde is zero; it takes the next step's, as DDPM's code does.
    second = gaussian.posterior(x0, x0, schedule.at(1), schedule.at(0)).variance
    small = jnp.where(is_decoder, second, truth.variance)
    large = gaussian.interval(at_t, at_s)[1].reshape(is_decoder.shape)
    if variance == "fixed_large":
        large = jnp.where(is_decoder, second, large)
    model = Gaussian(
        gaussian.posterior(x, guess, at_t, at_s).mean,
        gaussian.reverse_variance(small, large, variance, prediction.log_variance),
    )
    if levels is None:
        nll = -gaussian.log_prob(x0, model)
    else:
        nll = -gaussian.discretized_log_likelihood(x0, model, levels=levels)
    divergence = gaussian.kl(Gaussian(truth.mean, small), model)
    return gaussian.sum_over_example(jnp.where(is_decoder, nll, divergence))


class Bound(NamedTuple):
    """The variational bound on `-log p(x_0)` in its terms (Ho et al. 2020, eq. 5).

    Attributes:
        terms: `[K, B]`, nats an example: of the K parts of time, each an estimate of the sum of its
            terms without bias; clean to noisy, so that the first part holds the decoder's `L_0`.
        edges: `[K + 1]`: part i holds the times `edges[i] .. edges[i + 1] - 1`.
        prior: `L_T`, `[B]`, nats an example.
    """

    terms: Array
    edges: Array
    prior: Array

    @property
    def total(self) -> Array:
        """The bound, `[B]`, nats an example."""
        return self.prior + jnp.sum(self.terms, axis=0)


def variational_bound(
    denoiser: Denoiser,
    x0: Array,
    key: Array,
    schedule: Discrete,
    *,
    parts: int | None = None,
    variance: str = "fixed_small",
    clip_x0: bool = True,
    levels: int | None = 256,
) -> Bound:
    """`-log p(x_0) <= L_T + sum_t L_t`, with fresh noise for every term (Ho et al. 2020, eq. 5).

    Args:
        denoiser: guesses x0.
        x0: data, `[B, ...]`, as for `bound_term`.
        key: of times and noise.
        schedule: a discrete schedule with T times.
        parts: time is cut into so many parts, of each of which one term is drawn for every example
            and counted as often as the part has times; None: all T terms are computed.
        variance: the reverse step's, as for `bound_term`.
        clip_x0: as for `bound_term`.
        levels: as for `bound_term`.

    Raises:
        ValueError: `parts` is not in `1 .. T`.

    Example:
        >>> from diffax import mixture, schedules
        >>> data = mixture.GaussianMixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
        >>> x0 = jax.random.normal(jax.random.key(0), (8, 2))
        >>> bound = variational_bound(data, x0, jax.random.key(1), schedules.linear(100),
        ...     clip_x0=False, levels=None)
        >>> bound.total.shape, bound.terms.shape
        ((8,), (100, 8))
    """
    total = schedule.num_steps
    parts = total if parts is None else parts
    if not 1 <= parts <= total:
        raise ValueError(f"parts of the bound must be 1 to {total}, the schedule's, got {parts}")
    edges = jnp.asarray([i * total // parts for i in range(parts + 1)])

    def part(i: Array) -> Array:
        time_key, noise_key = jax.random.split(jax.random.fold_in(key, i))
        t = jax.random.randint(time_key, x0.shape[:1], edges[i], edges[i + 1])
        eps = jax.random.normal(noise_key, x0.shape)
        term = bound_term(
            denoiser, x0, eps, schedule, t, variance=variance, clip_x0=clip_x0, levels=levels
        )
        return (edges[i + 1] - edges[i]) * term

    return Bound(jax.lax.map(part, jnp.arange(parts)), edges, prior_kl(x0, schedule))


@noun
class LearnedVariance:
    """The reverse step's variance, learned by the hybrid loss (Nichol & Dhariwal 2021, eq. 16).

    `L_hybrid = L_simple + weight L_vlb`. The network answers twice the data's channels, the second
    half for the variance; L_vlb teaches that half only, the mean is held fixed in it.

    Attributes:
        kind: what the second half means: `learned_range`, the place in `[-1, 1]` between the logs
            of beta tilde and beta (their eq. 15), or `learned`, the log-variance itself.
        weight: lambda of the paper, >= 0; on L_vlb in bits per dimension.
    """

    kind: str = structure(default="learned_range")
    weight: ArrayLike = number(default=0.001)

    def __post_init__(self) -> None:
        """Checks the kind and a plain weight."""
        if self.kind not in ("learned_range", "learned"):
            raise ValueError(f"kind should be learned_range or learned, got {self.kind!r}")
        check_range("weight", self.weight, least=0)

    def bound(
        self, prediction: Prediction, x0: Array, eps: Array, schedule: Discrete, t: Array
    ) -> Array:
        """An estimate of L_vlb without its constant `L_T`: T times the term of one drawn time.

        Args:
            prediction: the network's answer at `t`, with a log-variance.
            x0: clean data, `[B, ...]`; at `t = 0` it is taken as 8-bit data in `[-1, 1]`.
            eps: the noise that `x_t` was made with, shaped like `x0`.
            schedule: a discrete schedule.
            t: times, `[B]`, whole numbers in `0 .. T-1`, drawn uniformly.

        Returns:
            Bits per dimension, `[B]`; its gradient reaches the log-variance only.
        """
        held = dataclasses.replace(
            prediction,
            x0=jax.lax.stop_gradient(prediction.x0),
            eps=jax.lax.stop_gradient(prediction.eps),
        )
        term = bound_term(
            lambda x, point: held, x0, eps, schedule, t, variance=self.kind, clip_x0=False
        )
        return schedule.num_steps * gaussian.bits_per_dimension(term, math.prod(x0.shape[1:]))
