"""Schedules against their formulas, their inverses, and their published end points."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import schedules
from diffax.schedules import EDM, VE, VP, ContinuousCosine, RectifiedFlow, SubVP

DISCRETE = {
    "linear": schedules.linear(1000),
    "scaled_linear": schedules.scaled_linear(1000),
    "cosine": schedules.cosine(1000),
    "sigmoid": schedules.sigmoid(1000),
    "sigmoid_beta": schedules.sigmoid_beta(100),
    "linear_one_step": schedules.linear(1, 0.5, 0.5),
}
CONTINUOUS = {
    "vp": VP(),
    "sub_vp": SubVP(),
    "cosine": ContinuousCosine(),
    "ve": VE(),
    "edm": EDM(),
    "flow": RectifiedFlow(),
    "linear_fraction": schedules.LinearFraction(),
    "cosine_fraction": schedules.CosineFraction(),
    "geometric_fraction": schedules.GeometricFraction(),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_tables_preserve_variance_and_lose_signal(name):
    schedule = DISCRETE[name]
    np.testing.assert_allclose(schedule.alpha**2 + schedule.sigma**2, 1.0, atol=2e-7)
    assert np.all(np.diff(np.asarray(schedule.alpha)) < 0)
    assert np.all(np.diff(np.asarray(schedule.sigma)) >= 0)
    assert schedule.alpha.dtype == schedule.sigma.dtype == schedule.beta.dtype == jnp.float32


def test_linear_is_the_papers():
    schedule = schedules.linear(1000)
    np.testing.assert_allclose(schedule.beta[0], 1e-4, rtol=1e-6)
    np.testing.assert_allclose(schedule.beta[-1], 0.02, rtol=1e-6)
    # Ho et al. 2020, section 4: KL(q(x_T | x_0) || N(0, I)) is about 1e-5 bits a dimension.
    np.testing.assert_allclose(schedule.terminal_signal, 4.0358e-5, rtol=1e-4)
    # float64 before float32: sigma^2 at the first step is beta to full precision.
    np.testing.assert_allclose(schedule.sigma[0] ** 2, 1e-4, rtol=3e-7)


def test_scaled_linear_ends_where_stable_diffusion_does():
    schedule = schedules.scaled_linear(1000)
    level = schedule.start.sigma_ratio
    np.testing.assert_allclose(level, 14.6146, rtol=1e-5)


def test_cosine_follows_its_curve_until_the_cap():
    schedule = schedules.cosine(1000)
    edges = np.arange(1, 1001) / 1000
    angle = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    wanted = angle(edges) / angle(0.0)
    np.testing.assert_allclose(schedule.alpha_bar[:-1], wanted[:-1], rtol=5e-6)
    np.testing.assert_allclose(schedule.beta[-1], 0.999, rtol=1e-6)


def test_sigmoid_is_antisymmetric_and_ends_clean():
    schedule = schedules.sigmoid(1000)
    bars = np.asarray(schedule.alpha_bar)
    # With start = -end the curve is symmetric about (1/2, 1/2).
    np.testing.assert_allclose(bars[:-1] + bars[:-1][::-1], 1.0, atol=1e-6)


def test_tutorial_schedule_keeps_its_signal_and_says_so():
    schedule = schedules.sigmoid_beta(100)
    steps = np.linspace(-6, 6, 100)
    betas = 1 / (1 + np.exp(-steps)) * (5e-3 - 1e-5) + 1e-5
    np.testing.assert_allclose(schedule.beta, betas, rtol=1e-6)
    np.testing.assert_allclose(schedule.terminal_signal, 0.778, atol=5e-4)
    with pytest.warns(UserWarning, match=r"alpha_bar_T = 0\.778"):
        schedules.warn_if_signal_remains(schedule, name="s_curve:tutorial")


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_good_schedules_do_not_warn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedules.warn_if_signal_remains(DISCRETE[name]) < 0.01


def test_from_alpha_bars_inverts_from_betas():
    betas = np.linspace(1e-3, 0.2, 50)
    direct = schedules.from_betas(betas)
    through = schedules.from_alpha_bars(np.cumprod(1 - betas))
    for field in ("alpha", "sigma", "beta"):
        np.testing.assert_allclose(getattr(direct, field), getattr(through, field), rtol=1e-6)


def test_zero_terminal_snr_keeps_the_first_and_empties_the_last():
    schedule = schedules.scaled_linear(1000)
    rescaled = schedules.zero_terminal_snr(schedule)
    assert rescaled.alpha[-1] == 0 and rescaled.sigma[-1] == 1
    np.testing.assert_allclose(rescaled.alpha[0], schedule.alpha[0], rtol=1e-6)
    assert np.all(np.isfinite(rescaled.at(jnp.linspace(-1, 999, 37)).sigma))


@pytest.mark.parametrize("name", DISCRETE)
def test_at_reads_the_table_and_interpolates_the_logsnr(name):
    schedule = DISCRETE[name]
    times = jnp.arange(schedule.num_steps)
    points = schedule.at(times)
    np.testing.assert_array_equal(points.alpha, schedule.alpha)
    np.testing.assert_array_equal(points.sigma, schedule.sigma)
    end = schedule.end
    assert (float(end.t), float(end.alpha), float(end.sigma)) == (-1, 1, 0)
    np.testing.assert_allclose(
        schedule.at(-0.75).sigma_ratio, 0.25 * points.sigma_ratio[0], rtol=1e-5
    )
    if schedule.num_steps > 1:
        low, high = points.logsnr[:2]
        np.testing.assert_allclose(schedule.at(0.25).logsnr, 0.75 * low + 0.25 * high, rtol=1e-5)


def test_times_outside_the_table_are_refused_not_clamped():
    schedule = schedules.linear(10)
    with pytest.raises(ValueError, match=r"outside this schedule's \[-1, 9\]"):
        schedule.at(10)
    with pytest.raises(ValueError):
        schedule.at(jnp.array([0.0, -1.5]))
    traced = jax.jit(lambda t: schedule.at(t).alpha)
    assert np.isnan(traced(10.0)) and np.isfinite(traced(9.0))


def test_large_times_are_not_narrowed():
    schedule = schedules.linear(4000, 1e-5, 5e-3)
    point = schedule.at(jnp.asarray(3999, jnp.int16))
    np.testing.assert_array_equal(point.alpha, schedule.alpha[-1])
    assert point.t == 3999


ROUND_TRIPS = DISCRETE | {
    "linear_10": schedules.linear(10),
    "zero_terminal": schedules.zero_terminal_snr(schedules.scaled_linear(1000)),
    "zero_terminal_10": schedules.zero_terminal_snr(schedules.linear(10)),
    # alpha_bar falls to 1e-65, below float32.
    "strong": schedules.from_betas(np.full(50, 0.95)),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_discrete_at_logsnr_inverts_at(name):
    """Between all entries and at both ends of the table."""
    schedule = ROUND_TRIPS[name]
    last = schedule.num_steps - 1
    points = schedule.at(jnp.linspace(0, last, 4 * last + 1))
    assert np.all(np.isfinite(points.alpha)) and np.all(np.isfinite(points.sigma))
    assert np.all(np.diff(points.alpha) < 0)
    back = schedule.at_logsnr(points.logsnr)
    # A table of 1000 steps changes its log-SNR by as little as 0.006 a step, of 1e-6 rounding.
    np.testing.assert_allclose(back.t, points.t, atol=2e-7 * schedule.num_steps + 5e-6)
    # Log-SNRs up to 150, of which 1e-7 is lost to rounding.
    np.testing.assert_allclose(back.alpha, points.alpha, rtol=1e-5)
    np.testing.assert_allclose(back.sigma, points.sigma, rtol=1e-5)


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_discrete_ends_by_logsnr(name):
    schedule = ROUND_TRIPS[name]
    clean, noise = schedule.at_logsnr(jnp.inf), schedule.at_logsnr(-jnp.inf)
    assert (float(clean.t), float(clean.alpha), float(clean.sigma)) == (-1, 1, 0)
    assert (float(noise.t), float(noise.alpha), float(noise.sigma)) == (
        schedule.num_steps - 1,
        0,
        1,
    )


def test_tables_that_round_to_pure_noise_stay_there():
    schedule = schedules.from_betas(np.full(80, 0.95))
    points = schedule.at(jnp.linspace(0, 79, 317))
    # Falling but for the last digits that float32 has, below 1e-38.
    assert np.all(np.diff(points.alpha) <= 2e-38) and points.alpha[-1] == 0
    assert np.all(np.isfinite(points.sigma))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_at_logsnr_inverts_at(name):
    schedule = CONTINUOUS[name]
    inside = jnp.concatenate([jnp.array([1e-3]), jnp.linspace(0.02, 1.0, 25)])
    points = schedule.at(inside * schedule.start.t)
    back = schedule.at_logsnr(points.logsnr)
    # The cosine turns away from alpha = 0 at t = 1 by less than float32 resolves.
    np.testing.assert_allclose(back.t, points.t, rtol=2e-4 if name == "ve" else 3e-6)
    np.testing.assert_allclose(back.alpha, points.alpha, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(back.sigma, points.sigma, rtol=1e-5)
    assert schedule.end.sigma == 0 and schedule.end.alpha == 1


@pytest.mark.parametrize("name", sorted(set(CONTINUOUS) - {"ve", "edm"}))
def test_continuous_pure_noise_by_logsnr(name):
    noise = CONTINUOUS[name].at_logsnr(-jnp.inf)
    assert (float(noise.t), float(noise.alpha), float(noise.sigma)) == (1, 0, 1)


@pytest.mark.parametrize("name", [*DISCRETE, *CONTINUOUS])
def test_gradients_are_finite_at_the_clean_end(name):
    """sigma grows like a square root from there: its infinite slope counts as zero."""
    schedule = (DISCRETE | CONTINUOUS)[name]
    both = lambda point: jnp.sum(point.alpha + point.sigma)
    by_time = jax.grad(lambda t: both(schedule.at(t)))
    assert np.isfinite(by_time(schedule.end.t)) and np.isfinite(by_time(schedule.start.t))
    by_number = jax.grad(lambda s: both(s.at(s.end.t)))(schedule)
    by_logsnr = jax.grad(lambda x: both(schedule.at_logsnr(x)) + schedule.at_logsnr(x).t)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(by_number))
    assert np.isfinite(by_logsnr(jnp.inf)) and np.isfinite(by_logsnr(5.0))


def test_vp_is_the_limit_of_linear():
    steps = 20_000
    table = schedules.linear(steps, 0.1 / steps, 20 / steps)
    t = np.linspace(0.1, 0.9, 9)
    discrete = table.at(np.round(t * steps) - 1)
    continuous = VP(0.1, 20.0).at(t)
    # The table is a Riemann sum of the rate: its error is O(1/T).
    np.testing.assert_allclose(discrete.alpha, continuous.alpha, rtol=3e-3)


def test_continuous_cosine_is_the_limit_of_the_table():
    table = schedules.cosine(1000)
    points = ContinuousCosine().at((jnp.arange(900) + 1) / 1000)
    np.testing.assert_allclose(points.alpha, table.alpha[:900], rtol=1e-5)
    np.testing.assert_allclose(points.sigma, table.sigma[:900], rtol=1e-4)


def test_cosine_sigma_does_not_cancel_near_the_clean_end():
    # 1 - alpha^2 in float32 has no digits left here.
    t = 1e-6
    angle = lambda t: (t + 0.008) / 1.008 * np.pi / 2
    exact = np.sqrt(np.sin(angle(t) - angle(0)) * np.sin(angle(t) + angle(0))) / np.cos(angle(0))
    np.testing.assert_allclose(ContinuousCosine().at(t).sigma, exact, rtol=2e-3)


def test_shift_time_moves_towards_noise_and_keeps_the_ends():
    t = jnp.array([0.0, 0.25, 0.5, 1.0])
    shifted = schedules.shift_time(t, 3.0)
    np.testing.assert_allclose(shifted, [0.0, 0.5, 0.75, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(schedules.shift_time(t, 1.0), t)


def test_schedules_are_pytrees_that_pass_through_jit():
    for schedule in [*DISCRETE.values(), *CONTINUOUS.values()]:
        point = jax.jit(lambda s: s.start)(schedule)
        np.testing.assert_allclose(point.sigma, schedule.start.sigma, rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.from_betas([0.1, 1.2]), r"in \(0, 1\]"),
        (lambda: schedules.from_betas([[0.1]]), "vector"),
        (lambda: schedules.from_alpha_bars([0.5, 0.6]), "decrease"),
        (lambda: schedules.linear(0), "at least one step"),
    ],
)
def test_bad_tables_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
