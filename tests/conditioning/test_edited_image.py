"""The image that an instruction changes."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import EditedImage
from diffax.data import Column, Spec

SCALE = 0.25


@dataclasses.dataclass(frozen=True)
class Halved:
    """A codec of two pixels a latent, with a scale."""

    params: float = 1.0
    module = SimpleNamespace(unscale=lambda latents: latents / SCALE)

    def with_params(self, params):
        return Halved(params)

    def encode(self, raw):
        return SCALE * self.params * raw[:, ::2, ::2].astype(jnp.float32)


def test_its_latents_are_unscaled_and_hidden_at_random():
    conditioner = EditedImage(Halved(), dropout=0.25)
    images = np.full((4000, 2, 2, 3), 8, np.uint8)
    told = conditioner.columns({"control": images})
    shown = conditioner.encode(2.0, told)["channels"]
    assert shown.shape == (4000, 1, 1, 3) and np.all(np.asarray(shown) == 16)
    hidden = conditioner.encode(1.0, conditioner.drop(jax.random.key(0), told))["channels"]
    assert set(np.unique(hidden)) == {0, 8}
    # 4,000 draws: a standard error of 0.007.
    np.testing.assert_allclose(np.mean(np.asarray(hidden) == 0), 0.25, atol=0.03)


def test_a_request_tells_nothing_here():
    conditioner = EditedImage(Halved())
    asked, avoided = conditioner.request(None, 2)
    assert asked == avoided == conditioner.encode(1.0, asked) == {}


def test_data_without_images_before_the_edit_are_refused():
    with pytest.raises(ValueError, match="set --data.control"):
        EditedImage(Halved()).fitted(Spec({"x": Column((2, 2, 3), "uint8")}, 1))
