"""Mistakes that other libraries have shipped, each by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import losses, parameterization, schedules
from diffax.parameterization import Prediction


def straight_line(x, point):
    """`dx / d sigma = x` on the schedule with alpha 1: eps is the state itself."""
    at = point.broadcast(x)
    return Prediction(x - at.sigma * x, x)


def test_heun_is_not_euler():
    """dx/dt = x from 1 to 0 in 8 steps: Heun with an Euler last step 0.36567, Euler 0.34361."""
    grid = schedules.EDM().at(np.linspace(1.0, 0.0, 9))
    x, keys = jnp.ones((1, 1)), diffax.sample_keys(0, 1)
    heun = diffax.sample(straight_line, diffax.solvers.Heun(), grid, x, keys)
    euler = diffax.sample(straight_line, diffax.solvers.Euler(), grid, x, keys)
    np.testing.assert_allclose(float(heun[0, 0]), 0.36567, atol=5e-6)
    np.testing.assert_allclose(float(euler[0, 0]), 0.34361, atol=5e-6)


def test_ddim_with_eta_adds_the_noise_it_makes_room_for():
    """Shrinking the direction and adding no noise would leave too little variance."""
    schedule = schedules.linear(1000)
    data = diffax.mixture.GaussianMixture(jnp.zeros((1, 1)), jnp.zeros(1), jnp.ones(1))
    grid = schedule.at(np.array([999, 500, 100]))
    keys = diffax.sample_keys(0, 20_000)
    noise = diffax.initial_noise(keys, (1,))
    run = jax.jit(diffax.sample)
    for eta in (0.0, 0.5, 1.0):
        x = run(data, diffax.solvers.DDIM(eta), grid, noise, keys)
        # The standard error of the ratio is 1 %.
        np.testing.assert_allclose(float(jnp.var(x)) / float(grid.sigma[-1]) ** 2, 1.0, atol=0.05)


def test_ddim_with_eta_1_is_ddpm():
    schedule = schedules.linear(1000)
    data = diffax.mixture.GaussianMixture(jnp.ones((1, 3)), jnp.full(1, 0.5), jnp.ones(1))
    grid, keys = diffax.time_grid(schedule, 10), diffax.sample_keys(0, 4)
    noise = diffax.initial_noise(keys, (3,))
    ancestral = diffax.sample(data, diffax.solvers.DDPM(), grid, noise, keys)
    implicit = diffax.sample(data, diffax.solvers.DDIM(1.0), grid, noise, keys)
    np.testing.assert_allclose(implicit, ancestral, rtol=2e-5, atol=2e-6)


def test_sde_solver_with_eta_0_is_the_ode_solver_from_pure_noise_too():
    """An infinite first step in log-SNR is no reason to add noise that eta 0 does not want."""
    schedule = schedules.zero_terminal_snr(schedules.linear(1000))
    data = diffax.mixture.GaussianMixture(jnp.ones((1, 3)), jnp.full(1, 0.5), jnp.ones(1))
    grid, keys = diffax.time_grid(schedule, 6), diffax.sample_keys(0, 2)
    noise = diffax.initial_noise(keys, (3,))
    sde = diffax.sample(data, diffax.solvers.SDEDPMSolverPP(eta=0.0), grid, noise, keys)
    ode = diffax.sample(data, diffax.solvers.DPMSolverPP(), grid, noise, keys)
    np.testing.assert_allclose(sde, ode, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 7.5, 1e4])
@pytest.mark.parametrize("batched", [True, False])
def test_guidance_leaves_equal_branches_alone(scale, batched):
    """Both branches the same: the same guess, bit for bit, at every scale."""
    network = diffax.Network(
        lambda _, x, t, c: jnp.sin(3 * x), None, jnp.zeros(5), parameterization.Eps()
    )
    guided = diffax.guidance.ClassifierFree(network, jnp.ones(5), scale, batched=batched)
    x = jnp.linspace(-2, 2, 20).reshape(5, 4)
    at = schedules.linear(10).at(7)
    np.testing.assert_array_equal(guided(x, at).eps, network(x, at).eps)
    np.testing.assert_array_equal(guided(x, at).x0, network(x, at).x0)


def test_min_snr_knows_the_prediction_type():
    """min(SNR, 5)/SNR for eps, min(SNR, 5)/(SNR + 1) for v, min(SNR, 5) for x0."""
    schedule = schedules.linear(1000)
    at = schedule.at(np.array([5, 400, 900]))
    snr = np.asarray(at.alpha / at.sigma, np.float64) ** 2
    capped = np.minimum(snr, 5)
    weight = losses.MinSNR(5.0)
    np.testing.assert_allclose(
        weight(at, parameterization.Eps(), schedule), capped / snr, rtol=1e-5
    )
    np.testing.assert_allclose(
        weight(at, parameterization.V(), schedule), capped / (snr + 1), rtol=1e-5
    )
    np.testing.assert_allclose(weight(at, parameterization.X0(), schedule), capped, rtol=1e-5)


def test_time_and_noise_of_the_loss_have_keys_of_their_own():
    """With one key for both, sigma and the noise would be two functions of the same bits."""
    seen = {}

    def spy(params, x, t, condition):
        seen["x"], seen["t"] = x, t
        return jnp.zeros_like(x)

    key = jax.random.key(0)
    losses.diffusion_loss(
        spy,
        None,
        jnp.zeros((4096, 1)),
        key,
        schedule=schedules.EDM(),
        parameterization=parameterization.X0(),
        times=losses.LogNormal(),
        weighting=losses.Constant(),
    )
    noise = np.asarray(seen["x"][:, 0] / seen["t"])
    level = np.log(np.asarray(seen["t"]))
    # Independent: the correlation of 4096 pairs has standard deviation 1/64.
    assert abs(np.corrcoef(noise, level)[0, 1]) < 5 / 64
    assert abs(np.corrcoef(np.abs(noise), level)[0, 1]) < 5 / 64


def test_sampler_noise_differs_from_step_to_step_and_from_the_start():
    keys = diffax.sample_keys(0, 2)

    class Spy:
        def init(self, x, grid):
            return None

        def step(self, denoiser, x, state, current, next, step_keys):
            from diffax.solvers.keys import normal

            return normal(step_keys, x), None

    grid = diffax.time_grid(schedules.linear(10), 5)
    start = diffax.initial_noise(keys, (3,))
    _, states = diffax.sample(None, Spy(), grid, start, keys, trajectory=True)
    np.testing.assert_array_equal(states[0], start)
    drawn = np.asarray(states)
    assert drawn.shape == (6, 2, 3) and len(np.unique(drawn)) == drawn.size


def test_times_are_wide_and_checked():
    """No int8 or float16 times, no index past the table's end."""
    schedule = schedules.linear(1000)
    grid = diffax.time_grid(schedule, 1000)
    assert grid.t.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(grid.t), np.arange(999, -2, -1))
    with pytest.raises(ValueError, match="outside"):
        schedule.at(1000)
    assert np.isnan(float(jax.jit(schedule.at)(1000.0).alpha))
