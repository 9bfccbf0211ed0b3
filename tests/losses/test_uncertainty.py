"""The learned log-variance finds how large the loss is at each noise level."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffax import losses, schedules
from diffax.losses import Uncertainty
from diffax.parameterization import Eps


def test_it_learns_the_logarithm_of_the_mean_loss():
    head, path = Uncertainty(waves=32), schedules.VP()
    point = path.at_logsnr(jnp.linspace(-6.0, 6.0, 64))
    size = jnp.exp(0.5 * point.logsnr)  # of the loss: over five orders of magnitude

    def loss(params):
        u = head.log_variance(params, point)
        return jnp.mean(size * jnp.exp(-u) + u)

    method = optax.adam(0.05)

    def step(state, _):
        params, memory = state
        update, memory = method.update(jax.grad(loss)(params), memory)
        return (optax.apply_updates(params, update), memory), None

    start = head.init()
    (params, _), _ = jax.lax.scan(step, (start, method.init(start)), None, 600)
    np.testing.assert_allclose(head.log_variance(params, point), jnp.log(size), atol=0.4)


def test_the_loss_is_divided_and_pays_for_it():
    """`mean(error / e^u + u)`; the parts keep the error itself."""

    def of(log_variance):
        return losses.diffusion_loss(
            lambda params, x, t, condition: 0 * x, None, jnp.ones((16, 2)), jax.random.key(0),
            schedule=schedules.VP(), parameterization=Eps(), times=losses.Uniform(),
            weighting=losses.Constant(), log_variance=log_variance,
        )  # fmt: skip

    plain, parts = of(None)
    value, again = of(lambda point: jnp.full_like(point.t, 0.7))
    assert float(value) == pytest.approx(float(plain) * np.exp(-0.7) + 0.7, rel=1e-6)
    np.testing.assert_array_equal(parts["mse"], again["mse"])


def test_ends_of_the_path_are_finite():
    head = Uncertainty(waves=4)
    for path in (schedules.RectifiedFlow(), schedules.EDM()):
        ends = path.at(jnp.asarray([0.0, float(path.start.t)]))
        assert np.isfinite(head.log_variance({"weights": jnp.ones(4)}, ends)).all()


def test_no_waves_are_refused():
    with pytest.raises(ValueError, match="uncertainty.waves should be .* >= 1, got 0"):
        Uncertainty(waves=0)
