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
    np.testing.assert_allclose(weigh(point, Eps(), SCHEDULE), clipped / snr, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, X0(), SCHEDULE), clipped, rtol=1e-5)
    np.testing.assert_allclose(weigh(point, V(), SCHEDULE), clipped / (snr + 1), rtol=1e-5)


@pytest.mark.parametrize("weigh", [losses.MinSNR(5.0), losses.P2(1.0, 1.0), losses.EDM(0.5)])
def test_a_weighting_means_the_same_for_every_parameterization(weigh):
    """The same error of x0 costs the same, whatever the network is asked for."""
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    kinds = (Eps(), X0(), V(), Velocity(), EDM())
    costs = [weigh(point, p, SCHEDULE) * p.sensitivity(point) for p in kinds]
    for cost in costs[1:]:
        np.testing.assert_allclose(cost, costs[0], rtol=1e-4)


def test_p2_on_eps_is_the_papers():
    point = SCHEDULE.at(jnp.array([20, 300, 800]))
    snr = (point.alpha / point.sigma) ** 2
    weight = losses.P2(0.5, 1.0)(point, Eps(), SCHEDULE)
    np.testing.assert_allclose(weight, (1 + snr) ** -0.5, rtol=1e-5)


def test_edm_weights_are_one_for_edm_and_the_papers_for_eps():
    """Karras et al. 2022, table 1: lambda(k) on D's error; D's error is k times that of eps."""
    for schedule, t in ((SCHEDULE, [5, 500, 990]), (schedules.EDM(), [0.01, 1.0, 50.0])):
        point = schedule.at(jnp.array(t))
        np.testing.assert_allclose(losses.EDM(0.3)(point, EDM(0.3), schedule), 1, rtol=1e-5)
        k = point.sigma_ratio
        wanted = (k**2 + 0.3**2) / (k * 0.3) ** 2 * k**2
        np.testing.assert_allclose(losses.EDM(0.3)(point, Eps(), schedule), wanted, rtol=1e-5)


def test_likelihood_weights_are_g_squared_over_the_variance():
    """Of the paper's SDEs: VP g^2 = beta(t), VE g^2 = d sigma^2 / dt."""
    t = jnp.array([0.1, 0.5, 1.0])
    weigh, vp, ve = losses.Likelihood(), schedules.VP(), schedules.VE()
    wanted = (0.1 + t * 19.9) / vp.at(t).sigma ** 2
    np.testing.assert_allclose(weigh(vp.at(t), Eps(), vp), wanted, rtol=1e-5)
    wanted = 2 * np.log(50.0 / 0.01) * np.ones(3)
    np.testing.assert_allclose(weigh(ve.at(t), Eps(), ve), wanted, rtol=1e-5)
    # The same cost of an error of x0, and finite where the signal is gone.
    flow = schedules.RectifiedFlow()
    point = flow.at(jnp.array([0.3, 0.9, 1.0]))
    costs = [weigh(point, p, flow) * p.sensitivity(point) for p in (X0(), Velocity())]
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-5)
    np.testing.assert_allclose(costs[0][2], 0, atol=1e-6)
    with pytest.raises(ValueError, match="learn the variances"):
        weigh(SCHEDULE.at(jnp.array([3])), Eps(), SCHEDULE)


def test_weights_are_finite_at_pure_noise():
    table = schedules.zero_terminal_snr(SCHEDULE)
    for weigh in (losses.MinSNR(), losses.P2(), losses.EDM()):
        for p in (Eps(), X0(), V()):
            assert np.isfinite(weigh(table.start, p, table))


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
