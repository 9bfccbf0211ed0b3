"""The bound in continuous time: its terms, its independence of the schedule, its learned ends."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import losses, schedules
from diffax.losses.continuous_bound import continuous_bound, gamma_rate, reconstruction
from diffax.noun import noun
from diffax.schedules import LearnedLinear

LEVELS = jnp.linspace(-1, 1, 256)
X0 = LEVELS[jax.random.randint(jax.random.key(0), (256, 6), 0, 256)]
# Uniform levels have the standard deviation sqrt(1/3): what one Gaussian knows of them.
DATA = diffax.mixture.GaussianMixture(jnp.zeros((1, 6)), jnp.array([3**-0.5]), jnp.ones(1))


@jax.jit
def terms(schedule):
    times = losses.Stratified()
    return continuous_bound(
        DATA, X0, jax.random.key(1), schedule=schedule, times=times, levels=LEVELS
    )


def test_every_term_is_at_least_zero():
    for schedule in (LearnedLinear().build(), LearnedLinear(-6.0, 2.0).build()):
        for name, values in terms(schedule).items():
            assert name == "t" or (np.asarray(values) >= 0).all(), name


def test_the_diffusion_term_depends_on_the_ends_alone():
    """Kingma et al. 2021, section 5.1: VP's schedule bends, the line between its ends does not."""
    bent = Cut(schedules.VP(), 0.05)
    straight = LearnedLinear(*[-float(bent.at(t).logsnr) for t in (0.0, 1.0)]).build()
    a, b = (np.asarray(terms(schedule)["diffusion"]) for schedule in (straight, bent))
    spread = (a.var() / a.size + b.var() / b.size) ** 0.5
    assert abs(a.mean() - b.mean()) < 4 * spread
    assert spread < 0.2 * a.mean()


@noun
class Cut:
    """A schedule without its first times."""

    schedule: Any
    first: float

    @property
    def start(self):
        return self.schedule.start

    def at(self, t):
        return self.schedule.at(self.first + (1 - self.first) * t)


def test_the_rate_of_gamma():
    t = jnp.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(gamma_rate(LearnedLinear(-4.0, 6.0).build(), t), 10.0, rtol=1e-4)


def test_reconstruction_tells_levels_apart_where_noise_is_small():
    """k = exp(-13.3 / 2) = 0.0013, and levels lie 0.0078 apart; with k = 1 nothing is told."""
    eps = jax.random.normal(jax.random.key(2), X0.shape)
    assert float(reconstruction(X0, eps, LearnedLinear().build(), LEVELS).mean()) < 0.1
    blind = reconstruction(X0, eps, LearnedLinear(8.0, 9.0).build(), LEVELS) / 6
    np.testing.assert_allclose(blind.mean(), np.log(256), rtol=0.02)


@pytest.mark.parametrize("low, high", [(-13.3, 5.0), (-5.0, 1.0)])
def test_a_learned_schedule_is_its_own_inverse_and_has_slopes(low, high):
    schedule = LearnedLinear(low, high).build()
    t = jnp.array([0.0, 0.3, 1.0])
    point = schedule.at(t)
    np.testing.assert_allclose(point.logsnr, -(low + (high - low) * t), rtol=1e-4)
    np.testing.assert_allclose(schedule.at_logsnr(point.logsnr).t, t, atol=1e-5)
    np.testing.assert_allclose(point.alpha**2 + point.sigma**2, 1, rtol=1e-5)
    assert float(schedule.end.sigma) == 0 and float(schedule.at(0.0).sigma) > 0

    def bound(params):
        parts = terms(schedule.with_params(params))
        return sum(jnp.mean(v) for name, v in parts.items() if name != "t")

    slopes = jax.jit(jax.grad(bound))(schedule.params)
    # Both ends matter: a cleaner start and a noisier end cost and gain.
    assert all(np.isfinite(v) and abs(v) > 1e-4 for v in jax.tree.leaves(slopes))
