"""Sequences: what is given is kept, what is missing is guessed, by a model whose law is known."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, conditioning, parameterization, schedules
from diffax.data import Oscillations, oscillations
from diffax.generation import Model, Sampling, generate
from diffax.models import BoundModule
from diffax.solvers import DDPM

LENGTH = 16
PROCESS = Oscillations(num=1, length=LENGTH, period=8.0, memory=6.0, split="test")
SERIES = PROCESS.load().arrays()["x"][0]
SCHEDULE = schedules.cosine(200)
GAP = np.zeros((LENGTH, 2), bool)
GAP[6:10] = True


class Known(nn.Module):
    """The mean of x0 given x_t, of a Gaussian law `[D, D]`: a linear map."""

    @nn.compact
    def __call__(self, x: Any, t: Any, condition: Any = None, *, train: bool = False) -> Any:
        law = oscillations.covariance(LENGTH, PROCESS.period, PROCESS.memory)
        values, vectors = map(jnp.float32, np.linalg.eigh(law))
        point = SCHEDULE.at(t)
        alpha, sigma = point.alpha[:, None], point.sigma[:, None]
        values = values[None, :]
        gain = alpha * values / (alpha**2 * values + sigma**2)
        return ((x.reshape(len(x), -1) @ vectors * gain) @ vectors.T).reshape(x.shape)


MODEL = Model(
    BoundModule(Known(), {}),
    SCHEDULE,
    parameterization.X0(),
    codecs.Standardize(mean=0.0, std=1.0),
    conditioning.Nothing(),
    Sampling(solver=DDPM("fixed_small"), steps=100, clip=None, num=1),
    (LENGTH, 2),
)


@pytest.mark.slow
def test_what_is_missing_is_guessed_from_what_is_known():
    holes = np.where(GAP, np.nan, SERIES)  # whatever stands there is not looked at
    drawn = np.asarray(generate(MODEL, image=holes, mask=GAP, num=200, seed=1).data)
    np.testing.assert_allclose(drawn[:, ~GAP], np.tile(SERIES[~GAP], (200, 1)), atol=1e-6)
    law = oscillations.best_guess(SERIES[None], GAP, PROCESS)[0]
    # Keeping the known part by replacement is no exact conditioning: near the best guess.
    error = np.sqrt(np.mean((drawn.mean(axis=0) - law)[GAP] ** 2))
    lines = np.array(SERIES)
    for channel in lines.T:
        channel[6:10] = np.interp(np.arange(6, 10), (5, 10), channel[[5, 10]])
    straight = np.sqrt(np.mean((lines - law)[GAP] ** 2))
    assert error < 0.5 * straight and drawn[:, GAP].std(axis=0).min() > 0.01


def test_masks_of_moments_and_of_numbers():
    for mask in (GAP[:, 0], GAP, np.tile(GAP, (3, 1, 1)), GAP.astype(np.float32)):
        drawn = np.asarray(generate(MODEL, image=SERIES, mask=mask, num=3, steps=2).data)
        np.testing.assert_allclose(drawn[:, ~GAP], np.tile(SERIES[~GAP], (3, 1)), atol=1e-6)
    one = GAP.copy()
    one[:, 1] = False
    drawn = np.asarray(generate(MODEL, image=SERIES, mask=one, num=3, steps=2).data)
    np.testing.assert_allclose(drawn[0, :, 1], SERIES[:, 1], atol=1e-6)


def test_strength_keeps_something_of_a_sequence():
    near, far = (
        np.asarray(generate(MODEL, image=SERIES, strength=s, num=3, steps=2, seed=2).data)
        for s in (0.1, 0.9)
    )
    assert np.abs(near - SERIES).mean() < 0.5 * np.abs(far - SERIES).mean()


@pytest.mark.parametrize("options, message", [
    (dict(image=SERIES[:5]), r"expected a sequence \[16, 2\] to start from, or 2, got .*\[5, 2\]"),
    (dict(image=SERIES, mask=GAP[:5]), r"expected a mask \[L\], \[L, C\] .*got shape \[5, 2\]"),
    (dict(image=np.full((16, 2), np.nan), mask=GAP), "not finite where the mask keeps them"),
])  # fmt: skip
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        generate(MODEL, num=2, **options)


def test_images_need_images():
    vectors = Model(
        BoundModule(Known(), {}), SCHEDULE, parameterization.X0(), codecs.Identity(),
        conditioning.Nothing(), Sampling(steps=2), (32,),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"a model of images or sequences; this one makes \[32\]"):
        generate(vectors, image=jax.numpy.zeros((32,)), num=1)
