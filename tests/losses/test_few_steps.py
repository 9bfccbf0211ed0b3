"""Few-step losses on Gaussian data, where every path is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax import losses, parameterization, schedules
from diffax.denoiser import Network
from diffax.losses import consistency_loss, progressive_loss, two_steps_as_one
from diffax.parameterization import Prediction
from diffax.solvers import DDIM, Consistency

STD = 0.6
DATA = diffax.mixture.GaussianMixture(jnp.zeros((1, 1)), jnp.array([STD]), jnp.ones(1))
LEVELS, TABLE = schedules.EDM(sigma_min=0.01, sigma_max=20.0), schedules.cosine(1000)
X0 = STD * jax.random.normal(jax.random.key(3), (256, 1))


def exact(x, point):
    """The consistency function: the ODE keeps x / std(x_t), so it ends at std x / std(x_t)."""
    at = point.broadcast(x)
    x0 = STD * x / jnp.sqrt((at.alpha * STD) ** 2 + at.sigma**2)
    return Prediction(x0, (x - at.alpha * x0) / jnp.where(at.sigma > 0, at.sigma, 1.0))


@pytest.mark.parametrize("name", sorted(set(parameterization.BY_NAME) - {"x0"}))
def test_a_consistency_model_is_the_identity_at_the_clean_end(name):
    """Whatever the network says; x0-prediction alone does not have it."""
    kind = parameterization.BY_NAME[name]()
    kind = kind.on(schedules.RectifiedFlow()) if hasattr(kind, "on") else kind
    x, output = X0[:8], jnp.full((8, 1), 3.7)
    for clean in (schedules.RectifiedFlow().end, LEVELS.end):
        np.testing.assert_array_equal(kind.read(output, x, clean).x0, x)


@pytest.mark.slow
def test_the_exact_function_is_constant_along_the_teachers_path():
    """Twice as many intervals: a step's error, which is second order, falls by about four."""
    found = []
    for intervals in (10, 20, 40):
        grid = diffax.time_grid(LEVELS, intervals, "karras")
        _, parts = consistency_loss(
            exact, X0, jax.random.key(0), grid=grid, teacher=DATA, by_gap=False
        )
        found.append(float(jnp.mean(parts["mse"])) ** 0.5)
    assert found[0] < 0.1
    assert 3 < found[0] / found[1] < 5 and 3 < found[1] / found[2] < 5


def test_one_call_of_the_exact_function_makes_the_data():
    keys = diffax.sample_keys(0, 4000)
    for steps in (1, 3):
        grid = diffax.time_grid(LEVELS, steps, "karras")
        x = diffax.initial_noise(keys, (1,)) * jnp.sqrt(grid.sigma[0] ** 2 + STD**2)
        drawn = jax.jit(diffax.sample)(_Exact(), Consistency(), grid, x, keys)
        # A standard deviation of 4,000 draws is known to 1.1 %.
        np.testing.assert_allclose(drawn.std(), STD, rtol=0.05)


@jax.tree_util.register_static
class _Exact:
    def __call__(self, x, point):
        return exact(x, point)

    def __eq__(self, other):
        return isinstance(other, _Exact)

    def __hash__(self):
        return 0


@pytest.mark.slow
def test_consistency_training_teaches_by_the_data_alone():
    """The same noise at both points; the target is held, and is the data at the clean end."""
    grid = diffax.time_grid(LEVELS, 5, "karras")

    def value(scale):
        student = lambda x, point: Prediction(scale * x, x)
        return consistency_loss(student, X0, jax.random.key(1), grid=grid, by_gap=False, huber=1.0)

    (_, parts), slope = jax.value_and_grad(value, has_aux=True)(0.5)
    eps = jax.random.normal(jax.random.split(jax.random.key(1))[1], X0.shape)
    i = np.round(5 * (1 - np.asarray(parts["rank"])) - 0.5).astype(int)
    x, y = X0 + grid.sigma[i][:, None] * eps, X0 + grid.sigma[i + 1][:, None] * eps
    target = jnp.where((i == 4)[:, None], y, 0.5 * y)
    np.testing.assert_allclose(y[i == 4], X0[i == 4])
    error = 0.5 * x - target
    np.testing.assert_allclose(parts["mse"], error[:, 0] ** 2, rtol=1e-3, atol=1e-6)
    # d/ds sqrt((s x - target)^2 + 1)
    np.testing.assert_allclose(slope, jnp.mean(error * x / jnp.sqrt(error**2 + 1)), rtol=1e-3)


def test_weights_by_gap_are_the_reciprocal_gap():
    grid = diffax.time_grid(LEVELS, 4, "karras")
    _, parts = consistency_loss(exact, X0, jax.random.key(0), grid=grid)
    _, plain = consistency_loss(exact, X0, jax.random.key(0), grid=grid, by_gap=False)
    i = np.round(4 * (1 - np.asarray(parts["rank"])) - 0.5).astype(int)
    gaps = -np.diff(np.asarray(grid.sigma))
    ratio = parts["weighted"] * gaps[i] / plain["weighted"]
    np.testing.assert_allclose(ratio[plain["weighted"] > 1e-6], 1, rtol=1e-4)


@pytest.mark.parametrize("schedule", [TABLE, schedules.RectifiedFlow()], ids=["table", "flow"])
def test_a_perfect_student_halves_the_steps(schedule):
    """It has no loss, and its N steps end where the teacher's 2 N do."""
    grid = diffax.time_grid(schedule, 8)
    x = jnp.linspace(-2, 2, 9)[:, None] * grid.sigma[0]
    there, after = x, x
    for i in range(8):
        there = DATA(there, grid[i]).at(grid[i + 1])
    for i in range(0, 8, 2):
        guess = two_steps_as_one(DATA, after, grid[i], grid[i + 1], grid[i + 2])
        after = guess.at(grid[i + 2])
    np.testing.assert_allclose(after, there, atol=1e-5)

    def student(x, point):
        i = jnp.argmin(jnp.abs(grid.t[None, ::2] - point.t[:, None]), axis=1) * 2
        return two_steps_as_one(DATA, x, point, grid[i + 1], grid[i + 2])

    settings = dict(
        grid=grid,
        parameterization=parameterization.V(),
        weighting=losses.Constant(),
        schedule=schedule,
    )
    value, parts = progressive_loss(student, DATA, X0, jax.random.key(0), **settings)
    assert value < 1e-9
    assert set(np.round(4 * np.asarray(parts["rank"]) - 0.5)) == {0, 1, 2, 3}
    wrong, _ = progressive_loss(DATA, DATA, X0, jax.random.key(0), **settings)
    assert wrong > 1e-4


def test_the_error_is_that_of_the_students_target():
    """On v it is the squared error of v, the paper's SNR + 1 on x0."""
    grid, v = diffax.time_grid(TABLE, 4), parameterization.V()
    zero = Network(lambda params, x, t, condition: jnp.zeros_like(x), {}, {}, v)
    _, parts = progressive_loss(
        zero, DATA, X0, jax.random.key(0), grid=grid, parameterization=v,
        weighting=losses.Constant(), schedule=TABLE,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(0))
    i = 2 * jax.random.randint(keys[0], (256,), 0, 2)
    at = grid[i]
    x = diffax.gaussian.q_sample(X0, jax.random.normal(keys[1], X0.shape), at)
    wanted = two_steps_as_one(DATA, x, at, grid[i + 1], grid[i + 2])
    target = v.target(wanted.x0, wanted.eps, at)
    np.testing.assert_allclose(parts["mse"], target[:, 0] ** 2, rtol=2e-3, atol=1e-5)


def test_ddim_takes_the_steps_that_are_distilled():
    grid = diffax.time_grid(TABLE, 4)
    x, keys = jnp.linspace(-2, 2, 9)[:, None], diffax.sample_keys(0, 9)
    there = x
    for i in range(4):
        there = DATA(there, grid[i]).at(grid[i + 1])
    np.testing.assert_allclose(diffax.sample(DATA, DDIM(), grid, x, keys), there, atol=1e-5)
