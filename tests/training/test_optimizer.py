"""Learning rates at known steps, every method, and groups of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.training import SGD, Adam, AdamW, Cosine, Group, InverseSqrt, Lion, Optimizer
from diffax.training.optimizer import METHODS


def rates(config: Optimizer, *steps: int, total: int = 1000, batch: int = 100) -> list[float]:
    return [float(config.learning_rate_at(s, steps=total, batch_size=batch)) for s in steps]


def test_constant_with_linear_warm_up():
    config = Optimizer(learning_rate=2e-4, warmup_steps=100)
    np.testing.assert_allclose(
        rates(config, 0, 49, 99, 100, 999), [2e-6, 1e-4, 2e-4, 2e-4, 2e-4], rtol=1e-6
    )


def test_edm_ramp_in_images():
    # 10 M images, 512 a step: after half of them, half the rate (Karras et al. 2022, table 7).
    config = Optimizer(learning_rate=1e-3, warmup_images=10_000_000)
    half = round(5_000_000 / 512)
    assert rates(config, half, batch=512)[0] == pytest.approx(5e-4, rel=1e-3)


def test_cosine_reaches_its_end():
    config = Optimizer(learning_rate=1.0, decay=Cosine(), warmup_steps=100)
    np.testing.assert_allclose(rates(config, 100, 550, 1000), [1, 0.5, 0], atol=1e-6)
    config = Optimizer(learning_rate=1.0, decay=Cosine(steps=500, final_fraction=0.1))
    np.testing.assert_allclose(rates(config, 0, 250, 500, 900), [1, 0.55, 0.1, 0.1], atol=1e-6)


def test_inverse_square_root():
    config = Optimizer(learning_rate=1e-2, decay=InverseSqrt(start=100))
    np.testing.assert_allclose(rates(config, 50, 100, 400, 10_000), [1e-2, 1e-2, 5e-3, 1e-3])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_a_line(name):
    decay = {} if name in ("adam", "sgd") else {"weight_decay": 1e-4}
    rate = {"lion": 1e-2, "sgd": 0.1}.get(name, 3e-2)
    params = {"w": jnp.zeros((4, 2)), "b": jnp.zeros((2,))}
    optimizer = Optimizer(METHODS[name](**decay), learning_rate=rate).build(
        params, steps=300, batch_size=16
    )
    x = jax.random.normal(jax.random.key(0), (64, 4))
    y = x @ jnp.arange(8.0).reshape(4, 2) / 8 + 0.5

    def loss(params):
        return jnp.mean((x @ params["w"] + params["b"][None] - y) ** 2)

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    _, values = jax.lax.scan(step, (params, optimizer.init(params)), length=300)
    assert values[-1] < 0.02 * values[0]


def test_clipping_bounds_the_update():
    params = {"w": jnp.zeros((3,))}
    optimizer = Optimizer(SGD(momentum=0.0), learning_rate=1.0, clip=0.5).build(
        params, steps=1, batch_size=1
    )
    updates, _ = optimizer.update({"w": jnp.full((3,), 100.0)}, optimizer.init(params), params)
    assert float(optax.tree.norm(updates)) == pytest.approx(0.5, rel=1e-6)


def test_groups_have_methods_and_rates_of_their_own():
    params = {"network": {"w": jnp.ones((2,))}, "conditioner": {"byte": jnp.ones((2,))}}
    config = Optimizer(
        SGD(momentum=0.0),
        learning_rate=1e-2,
        clip=None,
        warmup_steps=10,
        groups=(
            Group("conditioner/", learning_rate=0.5, method=Lion()),
            Group("byte", learning_rate=9.0, method=Adam()),  # the first that matches counts
        ),
    )
    optimizer = config.build(params, steps=100, batch_size=1)
    gradient = jax.tree.map(lambda leaf: 3 * leaf, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    # The first of ten steps of warm-up: a tenth of every rate; Lion moves by the sign alone.
    np.testing.assert_allclose(updates["network"]["w"], -1e-3 * 3, rtol=1e-6)
    np.testing.assert_allclose(updates["conditioner"]["byte"], -0.05, rtol=1e-6)


def test_a_group_of_nothing_is_refused():
    params = {"network": {"w": jnp.ones((2,))}}
    config = Optimizer(groups=(Group("conditionr"),))
    with pytest.raises(ValueError, match="'conditionr' matches no parameter; they are called: net"):
        config.build(params, steps=1, batch_size=1)
    with pytest.raises(ValueError, match="is no regular expression"):
        Optimizer(groups=(Group("("),)).build(params, steps=1, batch_size=1)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: Optimizer(learning_rate=0.0), "learning_rate"),
        (lambda: Optimizer(clip=-1.0), "clip"),
        (lambda: Optimizer(warmup_steps=1, warmup_images=1), "not both"),
        (lambda: Optimizer(warmup_steps=-1), "warmup_steps"),
        (lambda: Adam(b2=1.0), "b2"),
        (lambda: AdamW(weight_decay=-0.1), "weight_decay"),
        (lambda: Cosine(final_fraction=2.0), "final_fraction"),
        (lambda: Cosine(steps=0), "decay.steps"),
        (lambda: InverseSqrt(start=0), "decay.start"),
        (lambda: Group("a", learning_rate=float("nan")), "learning_rate"),
    ],
)
def test_bad_values_are_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_chosen_weights_keep_their_magnitude_and_learn_their_direction():
    """EDM2's: the rest of the parameters does what it would have done."""
    params = {"a": {"kernel": jnp.ones((3, 3, 2, 4)), "gain": jnp.ones(())}}
    gradient = jax.tree.map(lambda p: jax.random.normal(jax.random.key(0), p.shape), params)
    both = []
    for config in (
        Optimizer(SGD(), 1.0, None),
        Optimizer(SGD(), 1.0, None, unit_weights="kernel$"),
    ):
        optimizer = config.build(params, steps=1, batch_size=1)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        both.append(optax.apply_updates(params, updates)["a"])
    plain, kept = both
    np.testing.assert_array_equal(kept["gain"], plain["gain"])
    # In EDM2 a weight's magnitude is told up to 1e-4.
    magnitude = jnp.sqrt(jnp.mean(kept["kernel"] ** 2, axis=(0, 1, 2)))
    np.testing.assert_allclose(magnitude, 1, atol=2e-4)
    same = np.sqrt(np.mean(plain["kernel"] ** 2, axis=(0, 1, 2))) * np.asarray(kept["kernel"])
    np.testing.assert_allclose(same, plain["kernel"], atol=1e-3)
    with pytest.raises(ValueError, match="unit_weights"):
        Optimizer(unit_weights="nothing").build(params, steps=1, batch_size=1)
