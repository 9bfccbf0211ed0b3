"""EDM's churn: add noise and go back up a little before each step (Karras et al. 2022, alg. 2)."""

import jax
import jax.numpy as jnp
from jax import Array

from diffax.schedules import Point
from diffax.solvers.keys import normal


def churned(options, x: Array, here: Point, steps: int, keys: Array) -> tuple[Array, Point]:
    """The state raised to `k (1 + gamma)`, and the point there (algorithm 2, lines 4-6).

    Args:
        options: has `schedule`, `churn`, `churn_min`, `churn_max`, `churn_noise`; see `Euler`.
        x: the state at `here`, `[B, ...]`.
        here: where it is.
        steps: number of steps of the run.
        keys: one key a sample.

    Where gamma is zero both come back exactly as they were.
    """
    k = here.sigma_ratio
    active = (k >= options.churn_min) & (k <= options.churn_max)
    gamma = jnp.where(active, jnp.minimum(options.churn / steps, 2**0.5 - 1), 0.0).astype(k.dtype)

    def up() -> tuple[Array, Point]:
        raised = options.schedule.at_logsnr(-2 * jnp.log(k * (1 + gamma)))
        # x / alpha gains noise of variance k_hat^2 - k^2.
        extra = k * jnp.sqrt(gamma * (2 + gamma)) * options.churn_noise
        noisy = raised.alpha / here.alpha * x + raised.alpha * extra * normal(keys, x)
        same_types = jax.tree.map(lambda r, h: r.astype(h.dtype), raised, here)
        return noisy.astype(x.dtype), same_types

    return jax.lax.cond(gamma > 0, up, lambda: (x, here))
