"""The variational bound in continuous time (Kingma et al. 2021), as a loss."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.losses.times import TimeSampling
from diffax.losses.variational import prior_kl
from diffax.schedules import Schedule


def continuous_bound(
    denoiser: Denoiser,
    x0: Array,
    key: Array,
    *,
    schedule: Schedule,
    times: TimeSampling,
    levels: Array,
) -> dict[str, Array]:
    """The bound on `-log p(x)` of data that take whole levels, one random draw of it.

        prior           KL(q(z_1 | x) || N(0, I))
        reconstruction  -log p(x | z_0),  p(x_i = v | z_0) ~ N(z_0i; alpha_0 v, sigma_0^2)
        diffusion       1/2 gamma'(t) |eps - eps_hat(z_t)|^2,  gamma = -log SNR

    (eq. 4, 5 and 17). The first two are >= 0 for each draw, the last one too. Gradients reach a
    learned schedule through all three.

    Args:
        denoiser: guesses eps.
        x0: clean data on the levels, `[B, ...]`.
        key: of times and noise.
        schedule: of a continuous time, which may be learned.
        times: uniform over the schedule's time, such as `Stratified()`.
        levels: every value that an entry of x0 can take, `[L]`.

    Returns:
        `{"prior", "reconstruction", "diffusion"}` in nats an example and `"t"`, each `[B]`.
    """
    time_key, noise_key, decoder_key = jax.random.split(key, 3)
    point = times(time_key, schedule, x0.shape[0])
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    error = eps - denoiser(gaussian.q_sample(x0, eps, point), point).eps
    return {
        "prior": prior_kl(x0, schedule),
        "reconstruction": reconstruction(
            x0, jax.random.normal(decoder_key, x0.shape, x0.dtype), schedule, levels
        ),
        "diffusion": 0.5 * gamma_rate(schedule, point.t) * _sum_over_example(error**2),
        "t": point.t,
    }


def reconstruction(x0: Array, eps: Array, schedule: Schedule, levels: Array) -> Array:
    """`-log p(x | z_0)` in nats an example, `[B]`: the decoder knows nothing but the levels.

    Args:
        x0: clean data on the levels, `[B, ...]`.
        eps: the noise of z_0, shaped like `x0`.
        schedule: of a continuous time; z_0 is at `t = 0`.
        levels: every value that an entry of x0 can take, `[L]`.
    """
    k = schedule.at(jnp.zeros(())).sigma_ratio
    # z_0 / alpha_0 is k eps away from its own level, and x0 + k eps - v from another.
    levels = levels.reshape(*[1] * x0.ndim, -1)
    others = -0.5 * ((x0[..., None] - levels) / k + eps[..., None]) ** 2
    own = -0.5 * eps**2
    return _sum_over_example(jax.nn.logsumexp(others, axis=-1) - own)


def gamma_rate(schedule: Schedule, t: Array) -> Array:
    """`d gamma / dt`, `gamma = -log SNR`, at times `[B]`."""
    return jax.jvp(lambda t: -schedule.at(t).logsnr, (t,), (jnp.ones_like(t),))[1]


def spread(schedule: Schedule, t: Array, diffusion: Array) -> Array:
    """Teaches the shape of a learned schedule to make the bound's estimate vary less.

    Whatever the shape between its ends, the diffusion term has the same mean over t, but not the
    same variance (Kingma et al. 2021, section 5.1). Noise levels gamma are drawn with the density
    1 / gamma'(t), so that the mean square is

        E[diffusion^2] = E_old[diffusion_old^2 gamma'(t(level)) / gamma'_old(t_old)]

    "old" being the schedule as it is: of the levels that were looked at, only gamma' depends on the
    shape, and no gradient goes through the network.

    Args:
        schedule: the learned one, gradients reaching its shape alone.
        t: times `[B]` that were looked at.
        diffusion: the term at each of them, `[B]`.

    Returns:
        Zero, with the gradient of the mean square over itself.
    """
    still = jax.lax.stop_gradient
    squared = still(diffusion**2)
    there = schedule.at_logsnr(still(schedule.at(t).logsnr)).t
    rate = gamma_rate(schedule, there)
    share = jnp.mean(squared * rate / still(rate)) / jnp.mean(squared)
    return share - still(share)


def bits(nats: Array, x0: Array) -> Array:
    """Nats an example, `[B]`, as bits a dimension of `x0`."""
    return gaussian.bits_per_dimension(nats, math.prod(x0.shape[1:]))


def _sum_over_example(x: Array) -> Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)
