"""Variational diffusion: the bound is the loss, and the schedule is learned."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, schedules
from diffax.data import Column, Spec
from diffax.generation import Sampling
from diffax.objectives import Variational

IMAGES = Spec({"x": Column((4, 4, 1), "uint8")}, size=4)


class Linear(nn.Module):
    """Answers with what is linear in each pixel and t."""

    @nn.compact
    def __call__(self, x, t, condition, *, train=False):
        t = jnp.broadcast_to(t[:, None, None, None], x.shape)
        return nn.Dense(x.shape[-1])(jnp.concatenate([x, t], axis=-1))


NETWORK = Linear()


@pytest.mark.parametrize(
    "schedule", [schedules.LearnedLinear(), schedules.LearnedMonotone(features=4)]
)
def test_the_loss_is_the_sum_of_its_terms_and_the_schedule_learns(schedule):
    objective = Variational(NETWORK, schedule).build(IMAGES)
    batch = {"x": jax.random.randint(jax.random.key(0), (8, 4, 4, 1), 0, 256).astype(jnp.uint8)}
    trainable, frozen = jax.jit(lambda key: objective.init(key, batch, {}))(jax.random.key(1))
    assert sorted(trainable) == ["network", "schedule"] and frozen == {}

    def loss(trainable):
        return objective.loss(trainable, frozen, batch, jax.random.key(2))

    (value, metrics), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(trainable)
    terms = [float(metrics[f"bits_{n}"]) for n in ("prior", "reconstruction", "diffusion")]
    assert min(terms) >= 0
    np.testing.assert_allclose(value, sum(terms), rtol=1e-5)
    assert all(np.any(s) for s in jax.tree.leaves(slope["schedule"]))

    moved = jax.tree.map(lambda leaf: leaf + 1.0, trainable["schedule"])
    model = objective.model(trainable | {"schedule": moved}, frozen, Sampling())
    np.testing.assert_allclose(-model.schedule.at(0.0).logsnr, -12.3, rtol=1e-4)
    np.testing.assert_allclose(-model.schedule.at(1.0).logsnr, 7.0, rtol=1e-4)


@pytest.mark.parametrize("recipe, spec, message", [
    (Variational(NETWORK), Spec({"x": Column((4, 4, 1), "float32")}, 4, (), (0.0,), (1.0,)),
     "8-bit images"),
    (Variational(NETWORK, schedule=schedules.Linear()), IMAGES, "some noise at t = 0"),
    (Variational(NETWORK, schedule=schedules.VP()), IMAGES, "some noise at t = 0"),
    (Variational(NETWORK, times=losses.LogNormal()), IMAGES, "uniform, stratified or"),
])  # fmt: skip
def test_what_has_no_bound_is_refused(recipe, spec, message):
    with pytest.raises(ValueError, match=message):
        recipe.build(spec)
