"""The bound in continuous time: its terms, its independence of the schedule, its learned ends."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffax
from diffax import losses, schedules
from diffax.losses.continuous import continuous_bound, gamma_rate, reconstruction
from diffax.noun import noun
from diffax.schedules import LearnedLinear, LearnedMonotone

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


@pytest.fixture(scope="module")
def bent():
    """A monotone network away from where it begins."""
    schedule = LearnedMonotone(-13.3, 5.0, features=16).build()
    layers = schedule.params["shape"]
    keys = iter(jax.random.split(jax.random.key(3), len(jax.tree.leaves(layers))))
    moved = jax.tree.map(
        lambda leaf: leaf * jax.random.uniform(next(keys), leaf.shape, minval=0.2, maxval=3), layers
    )
    return schedule.with_params(schedule.params | {"shape": moved})


def test_a_monotone_network_rises_between_exact_ends_and_has_an_inverse(bent):
    t = jnp.linspace(0, 1, 101)
    gamma = -bent.at(t).logsnr
    np.testing.assert_allclose(gamma[jnp.array([0, -1])], [-13.3, 5.0], rtol=1e-5)
    assert (np.diff(gamma) > 0).all()
    assert np.abs(gamma - (-13.3 + 18.3 * t)).max() > 0.5, "it is bent"
    np.testing.assert_allclose(bent.at_logsnr(-gamma).t, t, atol=1e-4)
    line = LearnedMonotone(-13.3, 5.0).build().at(t).logsnr
    np.testing.assert_allclose(line, 13.3 - 18.3 * t, atol=0.01)
    with pytest.raises(ValueError, match="features should be a whole number"):
        LearnedMonotone(features=0)


def test_the_inverse_of_a_monotone_network_moves_with_it(bent):
    """At a given level, dt = -dgamma / gamma'."""
    t, direction = jnp.array([0.2, 0.7]), jax.tree.map(jnp.ones_like, bent.params["shape"])

    def at(layers):
        return bent.with_params(bent.params | {"shape": layers})

    layers = bent.params["shape"]
    _, moved = jax.jvp(lambda shape: -at(shape).at(t).logsnr, (layers,), (direction,))
    level = bent.at(t).logsnr
    _, back = jax.jvp(lambda shape: at(shape).at_logsnr(level).t, (layers,), (direction,))
    np.testing.assert_allclose(back, -moved / gamma_rate(bent, t), rtol=1e-3)


def test_the_shape_learns_to_spread_the_bound_evenly(bent):
    """Its mean stays, the variance of its draws falls; the ends see no gradient of it."""
    update = optax.adam(0.1)

    def loss(params):
        schedule = bent.with_params(params)
        found = terms(schedule.ends)
        return losses.spread(schedule.shape, found["t"], found["diffusion"]), found["diffusion"]

    @jax.jit
    def learn(carry, _):
        params, state = carry
        (value, diffusion), slope = jax.value_and_grad(loss, has_aux=True)(params)
        change, state = update.update(slope, state)
        told = (value, diffusion.mean(), diffusion.std(), slope["start"], slope["slope"])
        return (optax.apply_updates(params, change), state), jnp.stack(told)

    _, told = jax.lax.scan(learn, (bent.params, update.init(bent.params)), None, 60)
    value, mean, std, start, slope = np.asarray(told).T
    assert not value.any() and not start.any() and not slope.any()
    np.testing.assert_allclose(mean[-1], mean[0], rtol=0.15)
    # What stays is the noise itself, a chi-square of 6 degrees: sqrt(2 / 6) of the mean.
    assert std[-1] < 0.8 * std[0]
    assert std[-1] > 0.8 * (2 / 6) ** 0.5 * mean[-1]
