"""Time grids: every spacing, its options, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import schedules
from diffax.sampling.grids import noise_levels

LINEAR = schedules.linear(1000)
CONTINUOUS = {
    "vp": schedules.VP(),
    "sub_vp": schedules.SubVP(),
    "cosine": schedules.ContinuousCosine(),
    "ve": schedules.VE(),
    "edm": schedules.EDM(),
    "flow": schedules.RectifiedFlow(),
}


@pytest.mark.parametrize(
    ("spacing", "options", "times"),
    [
        ("leading", {}, [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1]),
        (
            "leading",
            {"steps_offset": 1},
            [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, -1],
        ),
        ("trailing", {}, [999, 899, 799, 699, 599, 499, 399, 299, 199, 99, -1]),
        ("linspace", {}, [999, 888, 777, 666, 555, 444, 333, 222, 111, 0, -1]),
        ("linspace", {"final": "sigma_min"}, [999, 888, 777, 666, 555, 444, 333, 222, 111, 0, 0]),
        ("quadratic", {}, [800, 632, 483, 355, 246, 158, 88, 39, 9, 0, -1]),
        (np.arange(10)[::-1], {}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1]),
    ],
)
def test_spacings_in_time(spacing, options, times):
    grid = diffax.time_grid(LINEAR, 10, spacing, **options)
    np.testing.assert_array_equal(np.asarray(grid.t), times)
    np.testing.assert_allclose(grid.alpha[:-1], LINEAR.alpha[np.array(times[:-1])])


def test_trailing_where_steps_do_not_divide():
    """Every T / S, rounded; not every T // S."""
    np.testing.assert_array_equal(
        np.asarray(diffax.time_grid(LINEAR, 7).t), [999, 856, 713, 570, 428, 285, 142, -1]
    )


def test_end_point_of_stable_diffusion_files():
    """set_alpha_to_one=False: the run ends at the table's least noise."""
    schedule = schedules.scaled_linear()
    grid = diffax.time_grid(schedule, 50, "leading", steps_offset=1, final="sigma_min")
    assert float(grid.t[0]) == 981
    np.testing.assert_allclose(grid.alpha[-1] ** 2, 1 - 0.00085, rtol=1e-6)


@pytest.mark.parametrize("spacing", ["karras", "exponential", "logsnr", "beta"])
@pytest.mark.parametrize("name", ["linear", "vp", "sub_vp", "ve", "edm"])
def test_spacings_in_noise_level(spacing, name):
    schedule = LINEAR if name == "linear" else CONTINUOUS[name]
    grid = diffax.time_grid(schedule, 12, spacing)
    level = np.asarray(grid.sigma_ratio, np.float64)
    assert np.all(np.diff(level) < 0) and level[-1] == 0 and len(level) == 13
    # Times and levels belong together.
    np.testing.assert_allclose(schedule.at(grid.t[1:-2]).logsnr, grid.logsnr[1:-2], atol=2e-2)
    if spacing in ("exponential", "logsnr"):
        np.testing.assert_allclose(np.diff(np.log(level[:-1]), 2), 0, atol=1e-5)
    if spacing == "karras":
        np.testing.assert_allclose(np.diff(level[:-1] ** (1 / 7), 2), 0, atol=1e-5)


def test_edm_grid_is_the_papers():
    """Karras et al. 2022, eq. 5: 18 steps from 80 to 0.002."""
    grid = diffax.time_grid(schedules.EDM(), 18, "karras")
    i = np.arange(18)
    rho = 7
    sigma = (80 ** (1 / rho) + i / 17 * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    np.testing.assert_allclose(grid.sigma[:-1], sigma, rtol=2e-6)
    np.testing.assert_array_equal(grid.t, grid.sigma)


def test_rounded_times_keep_their_levels():
    grid = diffax.time_grid(LINEAR, 10, "karras")
    whole = diffax.time_grid(LINEAR, 10, "karras", round_times=True)
    np.testing.assert_array_equal(whole.t, np.round(grid.t))
    np.testing.assert_array_equal(whole.sigma, grid.sigma)


def test_flow_shift_moves_towards_noise():
    plain = diffax.time_grid(schedules.RectifiedFlow(), 4)
    shifted = diffax.time_grid(schedules.RectifiedFlow(), 4, shift=3.0)
    np.testing.assert_allclose(plain.t, [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(shifted.t, [1, 0.9, 0.75, 0.5, 0], rtol=1e-6)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("spacing", ["trailing", "quadratic"])
def test_continuous_schedules_in_time(name, spacing):
    schedule = CONTINUOUS[name]
    grid = diffax.time_grid(schedule, 5, spacing)
    assert float(grid.t[0]) == float(schedule.start.t) and float(grid.sigma[-1]) == 0
    assert np.all(np.diff(np.asarray(grid.t)) < 0)


def test_zero_terminal_snr_starts_from_pure_noise_and_every_solver_bears_it():
    from diffax.solvers import registry

    schedule = schedules.zero_terminal_snr(schedules.scaled_linear())
    assert float(schedule.start.alpha) == 0
    data = diffax.mixture.GaussianMixture(jnp.ones((1, 2)), jnp.full(1, 0.3), jnp.ones(1))
    keys = diffax.sample_keys(0, 3)
    grid = diffax.time_grid(schedule, 8)
    noise = diffax.initial_noise(keys, (2,))
    for name in ("ddim", "ddpm", "euler", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "unipc"):
        solver = registry.build(name, schedule)
        assert np.all(np.isfinite(diffax.sample(data, solver, grid, noise, keys))), name


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((LINEAR, 0), {}, "at least 1"),
        ((LINEAR, 1001), {}, "1 .. 1000"),
        ((LINEAR, 10, "karas"), {}, "karras"),
        ((LINEAR, 10), {"final": "one"}, "zero or sigma_min"),
        ((LINEAR, 10), {"steps_offset": 1}, "leading"),
        ((LINEAR, 10), {"shift": 3.0}, "RectifiedFlow"),
        ((LINEAR, 3, np.arange(3)), {}, "decrease"),
        ((LINEAR, 3, np.arange(4)[::-1]), {}, "expected 3 times"),
        ((LINEAR, 800, "quadratic"), {}, "repeats"),
        ((LINEAR, 10, "karras"), {"sigma_max": 1e-3}, "sigma_min < sigma_max"),
        ((schedules.VP(), 10, "leading"), {}, "trailing"),
    ],
)
def test_what_cannot_be_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        diffax.time_grid(*arguments, **options)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.RectifiedFlow(),
        schedules.ContinuousCosine(),
        schedules.cosine(1000),
        schedules.zero_terminal_snr(LINEAR),
    ],
)
def test_noise_spacings_do_not_start_in_pure_noise(schedule):
    """The cosine table ends at k = 20,291: karras would put half of 20 steps above 160."""
    grid = diffax.time_grid(schedule, 10, "karras")
    np.testing.assert_allclose(float(grid.sigma_ratio[0]), 160, rtol=1e-4)
    wider = diffax.time_grid(schedule, 10, "karras", sigma_max=2000.0)
    np.testing.assert_allclose(float(wider.sigma_ratio[0]), 2000, rtol=1e-3)


def test_unknown_kind_of_levels_is_refused():
    with pytest.raises(ValueError, match="karras"):
        noise_levels(3, "trailing", 0.1, 1.0)


def test_grid_is_a_pytree_of_float32():
    grid = diffax.time_grid(LINEAR, 4, "karras")
    assert {leaf.dtype for leaf in jax.tree.leaves(grid)} == {jnp.dtype("float32")}
