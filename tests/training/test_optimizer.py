"""Learning rates at known steps, and every optimizer by its name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax.training import OptimizerConfig


def rates(config: OptimizerConfig, *steps: int, total: int = 1000, batch: int = 100) -> list[float]:
    return [float(config.learning_rate_at(s, steps=total, batch_size=batch)) for s in steps]


def test_constant_with_linear_warm_up():
    config = OptimizerConfig(learning_rate=2e-4, warmup_steps=100)
    np.testing.assert_allclose(
        rates(config, 0, 49, 99, 100, 999), [2e-6, 1e-4, 2e-4, 2e-4, 2e-4], rtol=1e-6
    )


def test_edm_ramp_in_images():
    # 10 M images, 512 a step: after half of them, half the rate (Karras et al. 2022, table 7).
    config = OptimizerConfig(learning_rate=1e-3, warmup_images=10_000_000)
    half = round(5_000_000 / 512)
    assert rates(config, half, batch=512)[0] == pytest.approx(5e-4, rel=1e-3)


def test_cosine_reaches_its_end():
    config = OptimizerConfig(learning_rate=1.0, decay="cosine", warmup_steps=100)
    np.testing.assert_allclose(rates(config, 100, 550, 1000), [1, 0.5, 0], atol=1e-6)
    config = OptimizerConfig(learning_rate=1.0, decay="cosine", final_fraction=0.1, decay_steps=500)
    np.testing.assert_allclose(rates(config, 0, 250, 500, 900), [1, 0.55, 0.1, 0.1], atol=1e-6)


def test_inverse_square_root():
    config = OptimizerConfig(learning_rate=1e-2, decay="inverse_sqrt", decay_steps=100)
    np.testing.assert_allclose(rates(config, 50, 100, 400, 10_000), [1e-2, 1e-2, 5e-3, 1e-3])


@pytest.mark.parametrize("name", ["adam", "adamw", "lion", "adafactor", "muon", "sgd"])
def test_every_optimizer_learns_a_line(name):
    decay = {} if name in ("adam", "sgd") else {"weight_decay": 1e-4}
    rate = {"lion": 1e-2, "sgd": 0.1}.get(name, 3e-2)
    optimizer = OptimizerConfig(name=name, learning_rate=rate, **decay).build(
        steps=300, batch_size=16
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

    params = {"w": jnp.zeros((4, 2)), "b": jnp.zeros((2,))}
    _, values = jax.lax.scan(step, (params, optimizer.init(params)), length=300)
    assert values[-1] < 0.02 * values[0]


def test_clipping_bounds_the_update():
    optimizer = OptimizerConfig(name="sgd", b1=0.0, learning_rate=1.0, clip=0.5).build(
        steps=1, batch_size=1
    )
    params = {"w": jnp.zeros((3,))}
    updates, _ = optimizer.update({"w": jnp.full((3,), 100.0)}, optimizer.init(params), params)
    assert float(optax.global_norm(updates)) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    "bad, word",
    [
        (dict(learning_rate=0.0), "learning_rate"),
        (dict(b2=1.0), "b2"),
        (dict(clip=-1.0), "clip"),
        (dict(warmup_steps=1, warmup_images=1), "not both"),
        (dict(weight_decay=0.1), "adamw"),
        (dict(decay="inverse_sqrt"), "decay_steps"),
    ],
)
def test_bad_values_are_refused(bad, word):
    with pytest.raises(ValueError, match=word):
        OptimizerConfig(**bad)
