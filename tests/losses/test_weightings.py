"""Weights against their papers, for every parameterization."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, schedules
from diffax.parameterization import EDM, X0, Eps, V, Velocity

SCHEDULE = schedules.linear(1000)


def test_min_snr_is_right_for_every_parameterization():
    """Hang et al. 2023, section 3.4: eps min(SNR, g)/SNR, x0 min(SNR, g), v min(SNR, g)/(SNR+1)."""
    point = SCHEDULE.at(jnp.array([5, 100, 400, 990]))
    snr = (point.alpha / point.sigma) ** 2
    clipped = jnp.minimum(snr, 5.0)
    weigh = losses.MinSNR(5.0)
    np.testing.assert_allclose(weigh(point, Eps()), clipped / snr, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, X0()), clipped, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, V()), clipped / (snr + 1), rtol=1e-5)


@pytest.mark.parametrize("weigh", [losses.MinSNR(5.0), losses.P2(1.0, 1.0)])
def test_a_weighting_means_the_same_for_every_parameterization(weigh):
    """The same error of x0 costs the same, whatever the network is asked for."""
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    costs = [weigh(point, p) * p.sensitivity(point) for p in (Eps(), X0(), V(), Velocity(), EDM())]
    for cost in costs[1:]:
        np.testing.assert_allclose(cost, costs[0], rtol=1e-4)


def test_p2_on_eps_is_the_papers():
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    snr = (point.alpha / point.sigma) ** 2
    np.testing.assert_allclose(losses.P2(0.5, 1.0)(point, Eps()), (1 + snr) ** -0.5, rtol=1e-5)


def test_weights_are_finite_at_pure_noise():
    noise = schedules.zero_terminal_snr(SCHEDULE).start
    for weigh in (losses.MinSNR(), losses.P2()):
        for p in (Eps(), X0(), V()):
            assert np.isfinite(weigh(noise, p))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.MinSNR(0), "gamma should be a finite number > 0, got 0.0"),
        (lambda: losses.P2(gamma=-1), "gamma should be a finite number >= 0"),
        (lambda: losses.P2(k=0.0), "k should be a finite number > 0"),
    ],
)
def test_impossible_weights_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
