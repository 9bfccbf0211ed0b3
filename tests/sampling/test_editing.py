"""Image-to-image, inpainting, RePaint, outpainting, inversion and interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import schedules

LINEAR = schedules.linear(1000)
KEYS = diffax.sample_keys(0, 6)
# Two correlated halves would be better served by a full covariance; the mixture gives them
# instead: the second coordinate tells which component the first belongs to.
DATA = diffax.mixture.GaussianMixture(
    jnp.array([[1.0, 1.0], [-1.0, -1.0]]), jnp.array([0.1, 0.1]), jnp.array([0.5, 0.5])
)
# One compilation for all calls of one shape and structure.
sample = jax.jit(diffax.sample)


def test_strength_1_is_the_whole_grid():
    for spacing in ("trailing", "karras"):
        grid = diffax.time_grid(LINEAR, 10, spacing)
        same = diffax.sampling.shortened(LINEAR, grid, 1.0)
        jax.tree.map(np.testing.assert_array_equal, same, grid)


def test_strength_places_the_start_and_keeps_the_count():
    grid = diffax.time_grid(LINEAR, 10)
    half = diffax.sampling.shortened(LINEAR, grid, 0.5)
    assert half.t.shape == grid.t.shape
    np.testing.assert_allclose(half.t[0], grid.t[5])
    np.testing.assert_allclose(half.t[-1], -1)
    assert np.all(np.diff(np.asarray(half.t)) < 0)
    np.testing.assert_allclose(half.t[:-1:2], grid.t[5:-1])
    np.testing.assert_allclose(LINEAR.at(half.t).alpha[:-1], half.alpha[:-1], rtol=1e-6)


def test_strength_outside_its_range_is_refused():
    for strength in (0.0, 1.1, -1):
        with pytest.raises(ValueError, match="strength"):
            diffax.sampling.shortened(LINEAR, diffax.time_grid(LINEAR, 4), strength)


def test_image_to_image_keeps_more_at_less_strength():
    x0 = jnp.tile(jnp.array([[1.05, 0.95]]), (6, 1))
    grid = diffax.time_grid(LINEAR, 20)
    moved = []
    for strength in (0.1, 0.3, 0.9):
        part = diffax.sampling.shortened(LINEAR, grid, strength)
        out = sample(
            DATA, diffax.solvers.DDIM(), part, diffax.sampling.noised(x0, part, KEYS), KEYS
        )
        moved.append(float(jnp.mean(jnp.abs(out - x0))))
    assert moved[0] < moved[1] < moved[2] and moved[0] < 0.1


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "solver", [diffax.solvers.DDIM(), diffax.solvers.DPMSolverPP(), diffax.solvers.DDPM()]
)
def test_inpainting_keeps_the_known_exactly_and_makes_the_rest_fit(solver, fresh):
    known = jnp.array([[1.0, 0.0], [-1.0, 0.0]] * 3)
    mask = jnp.array([[0.0, 1.0]])
    grid = diffax.time_grid(LINEAR, 50)
    keys = diffax.sample_keys(3, 400)
    known = jnp.tile(known[:2], (200, 1))
    wrapped = diffax.sampling.Inpainting(solver, known, mask, fresh_noise=fresh)
    noise = diffax.initial_noise(keys, (2,))
    out = sample(DATA, wrapped, grid, noise, keys)
    np.testing.assert_array_equal(out[:, 0], known[:, 0])
    # The second coordinate follows the first in the data: without the kept part it would agree in
    # half of the samples (standard error 2.5 %).
    agreement = np.mean(np.sign(out[:, 1]) == np.sign(known[:, 0]))
    assert agreement > 0.75


@pytest.mark.slow
def test_repaint_makes_the_unknown_agree_more_often_than_replacement():
    """The second coordinate must follow the first; resampling is what RePaint adds."""
    keys = diffax.sample_keys(1, 400)
    known = jnp.where(jnp.arange(400)[:, None] % 2 == 0, 1.0, -1.0) * jnp.array([[1.0, 0.0]])
    mask = jnp.array([[0.0, 1.0]])
    grid = diffax.time_grid(LINEAR, 25)
    noise = diffax.initial_noise(keys, (2,))

    def agreement(solver, points):
        out = sample(DATA, solver, points, noise, keys)
        return float(jnp.mean(jnp.sign(out[:, 1]) == jnp.sign(known[:, 0])))

    plain = agreement(
        diffax.sampling.Inpainting(diffax.solvers.DDPM(), known, mask, fresh_noise=True), grid
    )
    resampled = agreement(
        diffax.sampling.RePaint(known, mask), diffax.sampling.repaint_grid(grid, 5, 10)
    )
    # 400 samples: the standard error is at most 2.5 %.
    assert resampled > 0.97
    assert resampled > plain


def test_repaint_walk_is_the_papers():
    """Down one, at each jump's foot up by its length, r - 1 times."""
    grid = LINEAR.at(np.arange(4, -2, -1))
    walk = diffax.sampling.repaint_grid(grid, jump_length=2, resamplings=2)
    heights = [int(t) + 1 for t in walk.t]
    assert heights == [5, 4, 3, 4, 5, 4, 3, 2, 1, 2, 3, 2, 1, 0]
    jax.tree.map(np.testing.assert_array_equal, diffax.sampling.repaint_grid(grid, 2, 1), grid)


@pytest.mark.parity
def test_repaint_walk_has_the_times_of_diffusers():
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    scheduler = diffusers.RePaintScheduler()
    scheduler.set_timesteps(50, 10, 10)
    walk = diffax.sampling.repaint_grid(diffax.time_grid(LINEAR, 50, "leading"), 10, 10)
    np.testing.assert_array_equal(scheduler.timesteps.numpy(), np.asarray(walk.t)[:-1])


def test_repaint_refuses_solvers_with_a_memory():
    grid = diffax.time_grid(LINEAR, 10)
    solver = diffax.sampling.RePaint(
        jnp.zeros((6, 2)), jnp.zeros((1, 2)), diffax.solvers.DPMSolverPP()
    )
    with pytest.raises(ValueError, match="memory"):
        sample(DATA, solver, grid, jnp.zeros((6, 2)), KEYS)
    with pytest.raises(ValueError, match="jump_length"):
        diffax.sampling.repaint_grid(grid, jump_length=10)


def test_outpainting_canvas():
    image = jnp.arange(12.0).reshape(1, 2, 2, 3)
    known, mask = diffax.sampling.outpainting_canvas(image, top=1, right=2)
    assert known.shape == (1, 3, 4, 3) and mask.shape == (1, 3, 4, 1)
    np.testing.assert_array_equal(known[:, 1:, :2], image)
    assert float(mask.sum()) == 8 and float(mask[0, 0, 0, 0]) == 1
    with pytest.raises(ValueError, match="margins"):
        diffax.sampling.outpainting_canvas(image, left=-1)


def test_slerp_keeps_the_length_and_its_ends():
    a, b = jax.random.normal(jax.random.key(0), (2, 3, 50))
    a, b = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    weights = jnp.array([0.0, 0.4, 1.0])
    mixed = diffax.sampling.slerp(a, b, weights)
    np.testing.assert_allclose(jnp.linalg.norm(mixed, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(mixed[0], a[0], atol=1e-6)
    np.testing.assert_allclose(mixed[2], b[2], atol=1e-6)
    np.testing.assert_allclose(diffax.sampling.slerp(a, a, 0.3), a, atol=1e-6)


def test_refined_inversion_gives_the_image_back():
    x0 = jnp.array([[1.05, 0.95], [-0.9, -1.1], [0.95, 1.0]] * 2)
    grid = diffax.time_grid(LINEAR, 20, "logsnr")
    errors = []
    for refinements in (0, 30):
        noise = diffax.sampling.invert(DATA, x0, grid, KEYS, refinements)
        back = sample(DATA, diffax.solvers.DDIM(), grid, noise, KEYS)
        errors.append(float(jnp.max(jnp.abs(back - x0))))
    assert errors[1] < 1e-2 and errors[1] < errors[0] / 3, errors


def test_interpolation_begins_and_ends_at_the_images():
    a, b = jnp.array([1.0, 0.9]), jnp.array([-1.0, -1.05])
    grid = diffax.time_grid(LINEAR, 20, "logsnr")
    weights = jnp.linspace(0, 1, 6)
    between = diffax.sampling.interpolate(DATA, a, b, weights, grid, KEYS, refinements=30)
    np.testing.assert_allclose(between[0], a, atol=2e-2)
    np.testing.assert_allclose(between[-1], b, atol=2e-2)
    assert np.all(np.diff(np.asarray(between[:, 0])) <= 1e-3)
