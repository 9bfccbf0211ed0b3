"""The variational bound (Ho et al. 2020, eq. 5), and variances learned from it."""

import dataclasses
import math

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
    return _sum_over_example(gaussian.kl(q, Gaussian(jnp.zeros_like(x0), jnp.ones(()))))


def bound_term(
    denoiser: Denoiser,
    x0: Array,
    eps: Array,
    schedule: Discrete,
    t: Array,
    *,
    variance: str = "fixed_large",
    clip_x0: bool = True,
    levels: int = 256,
) -> Array:
    """One term of the variational bound (Ho et al. 2020, eq. 5).

    `L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))`, or `L_0 = -log p(x_0 | x_1)` where
    `t = 0` (times count from 0 here and from 1 in the paper).

    Args:
        denoiser: guesses x0.
        x0: 8-bit data on its grid in `[-1, 1]`, `[B, ...]`.
        eps: standard normal noise, shaped like `x0`.
        schedule: a discrete schedule.
        t: times, `[B]`, whole numbers in `0 .. T-1`.
        variance: the reverse step's: `fixed_small` (beta tilde), `fixed_large` (beta),
            `learned_range` or `learned`, from the prediction.
        clip_x0: clip the guess to `[-1, 1]`, as DDPM does.
        levels: number of values a pixel can take.

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
    nll = -gaussian.discretized_log_likelihood(x0, model, levels=levels)
    divergence = gaussian.kl(Gaussian(truth.mean, small), model)
    return _sum_over_example(jnp.where(is_decoder, nll, divergence))


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


def _sum_over_example(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)
