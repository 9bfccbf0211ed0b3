"""The loss against its definition, and the hybrid loss of learned variances."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax import losses, schedules
from diffax.losses import LearnedVariance
from diffax.parameterization import EDM, VDM, X0, Eps, Flow, V, Velocity

SCHEDULE = schedules.linear(1000)


def loss(apply, x0, **changes):
    settings = dict(
        schedule=SCHEDULE,
        parameterization=Eps(),
        times=losses.Uniform(),
        weighting=losses.Constant(),
    )
    return losses.diffusion_loss(apply, None, x0, jax.random.key(0), **(settings | changes))


def test_loss_of_a_silent_network_is_the_power_of_the_noise():
    x0 = jnp.zeros((5000, 8))
    value, parts = loss(lambda p, x, t, c: jnp.zeros_like(x), x0)
    # Mean of chi-square over 40,000 draws: one, with a standard error of 0.007.
    np.testing.assert_allclose(value, 1.0, atol=0.035)
    assert parts["mse"].shape == parts["t"].shape == (5000,)
    assert value.dtype == jnp.float32


@pytest.mark.parametrize("parameterization", [Eps(), X0(), V(), Velocity(), EDM(1.0)])
def test_the_right_answer_has_no_loss(parameterization):
    """On data that are all zero the noise is x / sigma, so the target is known to the network."""

    def oracle(params, x, t, condition):
        if isinstance(parameterization, EDM):
            level = jnp.exp(4 * t)
            c_in = jax.lax.rsqrt(level**2 + 1)
            eps = x / (c_in * level)[:, None]
            k = level[:, None]
            return -(1 / (k**2 + 1)) * k * eps / (k * jax.lax.rsqrt(k**2 + 1))
        point = SCHEDULE.at(t)
        eps = x / point.sigma[:, None]
        return parameterization.target(jnp.zeros_like(x), eps, point)

    value, _ = loss(oracle, jnp.zeros((64, 8)), parameterization=parameterization)
    assert value < 1e-9


def test_condition_reaches_the_network():
    seen = lambda p, x, t, c: jnp.zeros_like(x) + c[:, None]
    low, _ = loss(seen, jnp.zeros((64, 8)), condition=jnp.zeros(64))
    high, _ = loss(seen, jnp.zeros((64, 8)), condition=jnp.full((64,), 10.0))
    assert high > low + 50


def correlation_of_time_and_noise():
    """Between the level and the noise that the network sees, and between level and |noise|."""
    seen = {}

    def spy(params, x, t, condition):
        seen["x"], seen["t"] = x, t
        return jnp.zeros_like(x)

    # At x0 = 0 the flow's x is t eps.
    loss(spy, jnp.zeros((4096, 1)), schedule=schedules.RectifiedFlow(), parameterization=X0())
    noise, t = np.asarray(seen["x"][:, 0] / seen["t"]), np.asarray(seen["t"])
    return max(abs(np.corrcoef(noise, t)[0, 1]), abs(np.corrcoef(np.abs(noise), t)[0, 1]))


def test_time_and_noise_have_keys_of_their_own(monkeypatch):
    """One key for both would make them two functions of the same bits: this test sees it."""
    # Independent: the correlation of 4096 pairs has standard deviation 1/64.
    assert correlation_of_time_and_noise() < 5 / 64
    monkeypatch.setattr(jax.random, "split", lambda key: (key, key))
    assert correlation_of_time_and_noise() > 0.9


def test_answers_of_another_shape_are_refused():
    twice = lambda p, x, t, c: jnp.concatenate([x, x], axis=-1)
    with pytest.raises(ValueError, match="go together with variance=LearnedVariance"):
        loss(twice, jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match="go together with variance=LearnedVariance"):
        loss(lambda p, x, t, c: x, jnp.zeros((4, 2)), variance=LearnedVariance())
    with pytest.raises(ValueError, match="check its out_channels"):
        loss(lambda p, x, t, c: x[:, :1], jnp.zeros((4, 2)))


# ---------------------------------------------------------------- learned variances

COARSE = schedules.linear(12, 1e-3, 0.5)


def knows_the_mean(std):
    """The exact eps of data from N(0, std^2), and the variance's half from a table `[T]`."""

    def apply(params, x, t, condition):
        scale, table = params
        at = COARSE.at(t).broadcast(x)
        eps = at.sigma / (at.alpha**2 * std**2 + at.sigma**2) * x
        place = jnp.broadcast_to(table[t.astype(jnp.int32), None], x.shape)
        return jnp.concatenate([scale * eps, place], axis=-1)

    return apply


def hybrid(params, key, *, std=0.3, batch=12_000, kind="learned_range", weight=1.0, **changes):
    # Not 0 or 1: fold_in and split give the same keys, and those make times and noise.
    x0 = std * jax.random.normal(jax.random.fold_in(key, 7), (batch, 1))
    settings = dict(
        schedule=COARSE,
        parameterization=Eps(),
        times=losses.Stratified(),
        weighting=losses.Constant(),
        variance=LearnedVariance(kind, weight),
    )
    apply = knows_the_mean(std)
    return losses.diffusion_loss(apply, params, x0, key, **(settings | changes))


@pytest.mark.parametrize("kind", ["learned_range", pytest.param("learned", marks=pytest.mark.slow)])
def test_the_hybrid_loss_learns_the_optimal_variance(kind):
    """Of Gaussian data it is known: beta tilde + (dmean / dx0)^2 Var(x_0 | x_t)."""
    std, steps = 0.3, COARSE.num_steps
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 400))
    start = jnp.full(steps, -2.0) if kind == "learned" else jnp.zeros(steps)

    def step(carry, key):
        table, state = carry
        gradient = jax.grad(lambda table: hybrid((1.0, table), key, batch=1200, kind=kind)[0])
        updates, state = optimizer.update(gradient(table), state)
        return (optax.apply_updates(table, updates), state), None

    keys = jax.random.split(jax.random.key(0), 400)
    (table, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))((start, optimizer.init(start)))

    alpha, sigma = (np.asarray(a, np.float64) for a in (COARSE.alpha, COARSE.sigma))
    t, s = slice(1, None), slice(None, -1)
    share = 1 - (alpha[t] * sigma[s] / (alpha[s] * sigma[t])) ** 2
    small, large = sigma[s] ** 2 * share, sigma[t] ** 2 * share
    uncertain = std**2 * sigma[t] ** 2 / (alpha[t] ** 2 * std**2 + sigma[t] ** 2)
    optimal = small + (alpha[s] * share) ** 2 * uncertain
    # Far from both bounds somewhere, so that a bound itself would not pass.
    assert np.max(np.minimum(optimal / small, large / optimal)) > 1.15
    learned = table[1:]
    if kind == "learned_range":
        place = (np.asarray(table[1:]) + 1) / 2
        learned = place * np.log(large) + (1 - place) * np.log(small)
    # 100 draws a step and time, averaged over the last hundred small steps.
    np.testing.assert_allclose(learned, np.log(optimal), atol=0.04)


@pytest.mark.slow
def test_the_bound_teaches_the_variance_and_not_the_mean():
    params, key = (0.7, jnp.zeros(COARSE.num_steps)), jax.random.key(0)
    bound = lambda params: jnp.mean(hybrid(params, key, batch=96)[1]["vlb"])
    mean, table = jax.grad(bound)(params)
    assert mean == 0.0
    assert np.all(table != 0) and np.all(np.isfinite(table))
    simple = lambda params: jnp.mean(hybrid(params, key, batch=96)[1]["weighted"])
    whole = lambda params: hybrid(params, key, batch=96)[0]
    np.testing.assert_array_equal(jax.grad(whole)(params)[0], jax.grad(simple)(params)[0])


def test_the_hybrid_loss_is_its_formula():
    """L_simple + weight T L_t in bits: at -1 the learned range is the small variance."""
    key = jax.random.key(3)
    low = jnp.full(COARSE.num_steps, -1.0)
    value, parts = hybrid((0.9, low), key, batch=24, weight=0.001)
    np.testing.assert_allclose(value, jnp.mean(parts["weighted"] + 0.001 * parts["vlb"]), rtol=1e-6)
    x0 = 0.3 * jax.random.normal(jax.random.fold_in(key, 7), (24, 1))
    eps = jax.random.normal(jax.random.split(key)[1], x0.shape)
    network = knows_the_mean(0.3)
    denoiser = lambda x, point: Eps().read(network((0.9, low), x, point.t, {}), x, point)
    terms = losses.bound_term(
        denoiser, x0, eps, COARSE, parts["t"], variance="fixed_small", clip_x0=False
    )
    np.testing.assert_allclose(parts["vlb"], 12 * terms / np.log(2), rtol=1e-4, atol=1e-5)
    assert set(parts) == {"t", "mse", "weighted", "loss", "vlb"}


@pytest.mark.slow
def test_learned_variances_survive_a_table_that_ends_in_pure_noise():
    schedule = schedules.zero_terminal_snr(SCHEDULE)
    x0 = jnp.linspace(-1, 1, 4000).reshape(1000, 4)
    every = lambda key, schedule, batch: schedule.at(jnp.arange(batch))

    def total(params):
        apply = lambda p, x, t, c: jnp.concatenate([p * x, p * jnp.ones_like(x)], axis=-1)
        value, _ = losses.diffusion_loss(
            apply, params, x0, jax.random.key(0), schedule=schedule, parameterization=V(),
            times=every, weighting=losses.Constant(), variance=LearnedVariance(),
        )  # fmt: skip
        return value

    value, slope = jax.value_and_grad(total)(0.3)
    assert np.isfinite(value) and np.isfinite(slope)


def test_learned_variances_need_steps():
    twice = lambda p, x, t, c: jnp.concatenate([x, x], axis=-1)
    for changes, message in (
        (dict(schedule=schedules.VP()), "continuous VP"),
        (dict(times=losses.LogNormal()), "whole times"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(twice, jnp.zeros((4, 2)), variance=LearnedVariance(), **changes)
    with pytest.raises(ValueError, match="learned_range or learned"):
        LearnedVariance("fixed_small")


@pytest.mark.parametrize("schedule", [schedules.VP(), schedules.RectifiedFlow()])
def test_every_parameterization_has_the_same_optimum_on_gaussian_data(schedule):
    """The best linear answer, of data whose moments are exact, reads as E[x0 | x_t]."""
    std = 0.6
    x0 = std * jnp.array([[1.0], [-1.0], [1.0], [-1.0]])
    eps = jnp.array([[1.0], [1.0], [-1.0], [-1.0]])
    for t in (0.1, 0.5, 0.9):
        point = schedule.at(t)
        x = point.alpha * x0 + point.sigma * eps
        gain = point.alpha * std**2 / (point.alpha**2 * std**2 + point.sigma**2)
        for kind in (Eps(), X0(), V(), Velocity(), Flow().on(schedule), EDM(0.5), VDM()):
            target = kind.target(x0, eps, point)
            best = jnp.sum(target * x) / jnp.sum(x**2)
            np.testing.assert_allclose(kind.read(best * x, x, point).x0, gain * x, atol=2e-5)


@pytest.mark.slow
def test_offset_noise_shifts_whole_channels():
    """Of a network that is silent the loss is the power of the noise, `1 + offset^2`."""
    x0 = jnp.zeros((4000, 4, 4, 2))
    silent = lambda p, x, t, c: jnp.zeros_like(x)
    value, _ = loss(silent, x0, noise_offset=0.5)
    # The offset's part is a mean over 8,000 squared normal numbers / 4: standard error 0.004.
    np.testing.assert_allclose(value, 1.25, atol=0.016)
    # A network that answers each channel's mean leaves the power of what is left within it.
    point = lambda t: SCHEDULE.at(t)
    mean = lambda p, x, t, c: jnp.broadcast_to(
        jnp.mean(x / point(t).broadcast(x).sigma, axis=(1, 2), keepdims=True), x.shape
    )
    inside, _ = loss(mean, x0, noise_offset=0.5)
    np.testing.assert_allclose(inside, 15 / 16, atol=0.016)


def test_importance_multiplies_each_examples_loss():
    x0, silent = jnp.zeros((4, 2)), lambda p, x, t, c: jnp.zeros_like(x)
    _, parts = loss(silent, x0)
    value, weighted = loss(silent, x0, importance=jnp.array([0.0, 1.0, 2.0, 0.5]))
    np.testing.assert_allclose(weighted["mse"], parts["mse"])
    expected = (parts["mse"][1] + 2 * parts["mse"][2] + 0.5 * parts["mse"][3]) / 4
    np.testing.assert_allclose(value, expected, rtol=1e-6)
