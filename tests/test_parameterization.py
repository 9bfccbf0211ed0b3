"""Round trips of every parameterization, at both ends of time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import gaussian, parameterization, schedules
from diffax.parameterization import EDM, X0, Eps, Prediction
from diffax.schedules import Point

ALL = {name: kind() for name, kind in parameterization.BY_NAME.items()}
ALL["flow"] = ALL["flow"].on(schedules.RectifiedFlow())
SCHEDULES = {
    "linear": schedules.linear(1000),
    "flow": schedules.RectifiedFlow(),
    "ve": schedules.VE(),
}


def draw(shape=(2, 4, 4, 3)):
    keys = jax.random.split(jax.random.key(0))
    return tuple(jax.random.normal(key, shape) for key in keys)


@pytest.mark.parametrize("path", SCHEDULES)
@pytest.mark.parametrize("name", ALL)
def test_reading_the_target_gives_back_data_and_noise(name, path):
    x0, eps = draw()
    schedule = SCHEDULES[path]
    for fraction in (0.02, 0.3, 0.7, 0.98):
        t = fraction * schedule.start.t
        point = schedule.at(jnp.round(t) if path == "linear" else t)
        x = point.alpha * x0 + point.sigma * eps
        read = ALL[name].read(ALL[name].target(x0, eps, point), x, point)
        # Dividing by alpha or sigma magnifies float32 rounding by the noise level; VDM's target
        # holds x itself, which grows with sigma.
        level = float(point.sigma_ratio)
        grown = max(1, float(point.sigma)) if name == "vdm" else 1
        np.testing.assert_allclose(read.x0, x0, atol=3e-6 * grown * max(1, level))
        np.testing.assert_allclose(read.eps, eps, atol=3e-6 * grown * max(1, 1 / level))


CLEAN = Point(jnp.array(0.0), jnp.array(1.0), jnp.array(0.0))
NOISE = Point(jnp.array(1.0), jnp.array(0.0), jnp.array(1.0))
# What no network output can say: eps of clean data from x0, x0 of pure noise from eps.
UNDEFINED = {("eps", "noise"), ("vdm", "noise"), ("x0", "clean"), ("edm", "clean")}


@pytest.mark.parametrize("end, point", [("clean", CLEAN), ("noise", NOISE)])
@pytest.mark.parametrize("name", ALL)
def test_every_parameterization_is_exact_at_both_ends_or_says_so(name, end, point):
    x0, eps = draw()
    x = point.alpha * x0 + point.sigma * eps
    read = ALL[name].read(ALL[name].target(x0, eps, point), x, point)
    finite = bool(jnp.all(jnp.isfinite(read.x0)) and jnp.all(jnp.isfinite(read.eps)))
    assert finite == ((name, end) not in UNDEFINED)
    if finite:
        np.testing.assert_allclose(read.x0, x0, atol=1e-6)
        np.testing.assert_allclose(read.eps, eps, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_networks_are_shown_finite_numbers_at_pure_noise(name):
    shown, t = ALL[name].network_input(draw()[1], NOISE)
    assert np.all(np.isfinite(shown)) and np.isfinite(t)


def test_eps_at_the_clean_end_and_x0_at_pure_noise():
    x0, eps = draw()
    np.testing.assert_array_equal(Eps().read(eps, x0, CLEAN).x0, x0)
    np.testing.assert_array_equal(X0().read(x0, eps, NOISE).eps, eps)


@pytest.mark.parametrize("name", ALL)
def test_batched_points_equal_scalar_ones(name):
    x0, eps = draw()
    schedule = schedules.linear(100)
    point = schedule.at(jnp.array([10, 80]))
    target = ALL[name].target(x0, eps, point)
    guess = ALL[name].read(target, x0 + eps, point)
    shown, t = ALL[name].network_input(x0, point)
    assert t.shape == (2,) and shown.shape == x0.shape
    for i, time in enumerate((10, 80)):
        one = slice(i, i + 1)
        alone = ALL[name].target(x0[one], eps[one], schedule.at(time))
        np.testing.assert_allclose(target[one], alone, rtol=1e-6)
        read = ALL[name].read(target[one], (x0 + eps)[one], schedule.at(time))
        np.testing.assert_allclose(guess.x0[one], read.x0, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_sensitivity_is_target_error_per_x0_error(name):
    """Move x0 with x_t held: the target moves by sqrt(sensitivity) times as much."""
    x0, eps = draw((1, 5))
    for t in (50, 500, 900):
        point = schedules.linear(1000).at(t)
        x = point.alpha * x0 + point.sigma * eps
        moved = x0 + 0.1
        its_eps = (x - point.alpha * moved) / point.sigma
        change = ALL[name].target(moved, its_eps, point) - ALL[name].target(x0, eps, point)
        np.testing.assert_allclose(
            jnp.mean(change**2) / 0.01, ALL[name].sensitivity(point), rtol=2e-3
        )


def test_edm_preconditioning_is_the_papers():
    """Karras et al. 2022, table 1, at sigma = 2 and sigma_data = 0.5."""
    point = schedules.EDM().at(2.0)
    x, output = jnp.full((1, 1), 3.0), jnp.full((1, 1), 0.7)
    shown, t = EDM(0.5).network_input(x, point)
    root = np.sqrt(4.25)
    np.testing.assert_allclose(shown, 3.0 / root, rtol=1e-6)
    np.testing.assert_allclose(t, np.log(2.0) / 4, rtol=1e-6)
    guess = EDM(0.5).read(output, x, point)
    np.testing.assert_allclose(guess.x0, 0.25 / 4.25 * 3.0 + 2 * 0.5 / root * 0.7, rtol=1e-6)


def test_edm_target_has_unit_variance_on_data_of_sigma_data():
    x0, eps = draw((4000, 2))
    for level in (0.01, 0.5, 20.0):
        target = EDM(0.5).target(0.5 * x0, eps, schedules.EDM().at(level))
        np.testing.assert_allclose(jnp.var(target), 1.0, rtol=0.05)


def test_half_precision_answers_are_read_in_float32():
    x0, eps = draw()
    point = schedules.linear(1000).at(999)
    guess = Eps().read(eps.astype(jnp.bfloat16), eps, point)
    assert guess.x0.dtype == guess.eps.dtype == jnp.float32


def test_second_half_of_channels_is_the_variance():
    x0, eps = draw()
    output = jnp.concatenate([eps, 0.5 * jnp.ones_like(eps)], axis=-1)
    guess = Eps().read(output, x0, schedules.linear(10).at(5))
    np.testing.assert_array_equal(guess.eps, eps)
    np.testing.assert_array_equal(guess.log_variance, 0.5)
    with pytest.raises(ValueError, match="out_channels"):
        Eps().read(output[..., :4], x0, schedules.linear(10).at(5))


def test_a_prediction_is_put_back_on_the_path():
    x0, eps = draw()
    schedule = schedules.linear(100)
    for point in (schedule.at(30), schedule.at(jnp.array([30, 80])), schedule.end):
        np.testing.assert_array_equal(
            Prediction(x0, eps).at(point), gaussian.q_sample(x0, eps, point)
        )
    np.testing.assert_array_equal(Prediction(x0, eps).at(schedule.end), x0)
    # Back where it was read, it is the state it was read from.
    at = schedule.at(jnp.array([30, 80]))
    for kind in ALL.values():
        np.testing.assert_allclose(kind.read(eps, x0, at).at(at), x0, atol=3e-6)


PATHS = [schedules.VP(), schedules.SubVP(), schedules.VE(), schedules.ContinuousCosine()]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_flow_is_the_velocity_of_any_path(path):
    """Against a central difference of the path itself, and back to data and noise."""
    x0, eps = draw((3, 5))
    t, h = jnp.array([0.1, 0.5, 0.9]), 2e-3
    flow, point = parameterization.Flow().on(path), path.at(t)
    there, back = (gaussian.q_sample(x0, eps, path.at(t + step)) for step in (h, -h))
    target = flow.target(x0, eps, point)
    # Twice the step, rounding of numbers as large as sigma, and the third derivative's h^2.
    atol = 2e-3 * float(jnp.abs(target).max())
    np.testing.assert_allclose(target, (there - back) / (2 * h), atol=atol)
    read = flow.read(target, gaussian.q_sample(x0, eps, point), point)
    level = np.asarray(point.sigma_ratio)[:, None]
    assert (np.abs(read.x0 - x0) < 1e-5 * np.maximum(1, level)).all()
    assert (np.abs(read.eps - eps) < 1e-5 * np.maximum(1, 1 / level)).all()


def test_flow_on_the_straight_path_is_the_velocity():
    path = schedules.RectifiedFlow()
    (x0, eps), point = draw((3, 5)), path.at(jnp.array([0.1, 0.5, 0.9]))
    flow, velocity = parameterization.Flow().on(path), parameterization.Velocity()
    np.testing.assert_allclose(
        flow.target(x0, eps, point), velocity.target(x0, eps, point), rtol=1e-6
    )
    np.testing.assert_allclose(flow.sensitivity(point), velocity.sensitivity(point), rtol=1e-6)


def test_flow_needs_a_path_with_a_velocity():
    with pytest.raises(ValueError, match="needs a schedule of continuous time"):
        parameterization.Flow().on(schedules.linear(10))
    with pytest.raises(ValueError, match="told no path"):
        parameterization.Flow().sensitivity(NOISE)
