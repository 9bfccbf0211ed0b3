"""Two players, and how their gradients are balanced; likeness without a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.losses import Gradients
from diffax.losses.adversarial import balance, hinge_discriminator, hinge_generator


def test_hinge_losses():
    real, fake = jnp.array([2.0, 0.5]), jnp.array([-3.0, 0.0])
    assert float(hinge_discriminator(real, fake)) == pytest.approx(0.5 * (0.25 + 0.5))
    assert float(hinge_generator(fake)) == 1.5


def test_the_balance_is_that_of_the_gradients():
    matrix = jax.random.normal(jax.random.key(0), (4, 3))
    kernel, h = jnp.ones(3), jnp.ones(4)

    def decoder(kernel):
        return matrix @ kernel * h

    out, pullback = jax.vjp(decoder, kernel)
    found = balance(
        lambda y: 5 * jnp.sum(y), lambda y: jnp.sum(y), out, lambda slope: pullback(slope)[0]
    )
    size = float(jnp.linalg.norm(matrix.sum(0)))
    assert float(found) == pytest.approx(5 * size / (size + 1e-4), rel=1e-5)
    still = balance(lambda y: jnp.sum(y), lambda y: 0.0 * jnp.sum(y), out, lambda s: pullback(s)[0])
    assert float(still) == pytest.approx(min(size / 1e-4, 1e4), rel=1e-5)  # never infinite


def test_gradients_know_blur_and_no_brightness():
    rng = np.random.default_rng(0)
    sharp = jnp.asarray(np.repeat(np.repeat(rng.uniform(-1, 1, (1, 4, 4, 3)), 4, 1), 4, 2))
    blurred = jax.image.resize(
        jax.image.resize(sharp, (1, 4, 4, 3), "linear"), sharp.shape, "cubic"
    )
    likeness = Gradients()
    assert float(likeness({}, sharp, sharp)) == 0
    assert float(likeness({}, sharp, sharp + 0.3)) == pytest.approx(0, abs=1e-6)
    assert float(likeness({}, sharp, blurred)) > 0.02
    # One scale: the mean absolute slope of a ramp, along one axis of two.
    ramp = jnp.broadcast_to(0.1 * jnp.arange(8.0)[None, :, None, None], (1, 8, 8, 1))
    assert float(Gradients(scales=1)({}, ramp, 0 * ramp)) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("fields", [{"weight": -1.0}, {"scales": 0}])
def test_gradients_check_their_numbers(fields):
    with pytest.raises(ValueError, match="perceptual"):
        Gradients(**fields)
