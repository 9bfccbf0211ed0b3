"""Guidance by an image and a text, on a network that answers with what it is told."""

import jax.numpy as jnp
import numpy as np

from diffax import parameterization, schedules
from diffax.denoiser import Network
from diffax.guidance import Instructed

POINT = schedules.linear(10).at(5)
X = jnp.ones((2, 3))


def told(text, image):
    return {"text": jnp.full((2, 1), text), "image": jnp.full((2, 1), image)}


def guess(scale, image_scale):
    network = Network(
        lambda params, x, t, c: c["text"] + c["image"] + 0 * x, {}, told(4.0, 1.0),
        parameterization.Eps(),
    )  # fmt: skip
    return Instructed(network, told(0.0, 1.0), told(0.0, 0.0), scale, image_scale)(X, POINT)


def test_it_is_the_papers_equation_3():
    # Nothing is answered with 0, the image with 1, the text adds 4.
    np.testing.assert_allclose(guess(7.5, 1.5).eps, np.full((2, 3), 1.5 * 1 + 7.5 * 4))


def test_at_scales_of_one_it_is_the_network():
    one = guess(1.0, 1.0)
    np.testing.assert_allclose(one.eps, np.full((2, 3), 5.0))
    np.testing.assert_allclose(POINT.alpha * one.x0 + POINT.sigma * one.eps, X, atol=1e-6)
