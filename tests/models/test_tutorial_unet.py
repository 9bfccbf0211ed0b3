"""The tutorials' U-Net: its parameter count, what it hears, faults."""

import jax
import jax.numpy as jnp
import pytest
from networks import (
    check_biases_begin_within_the_fan_in,
    check_every_example_hears_its_own,
    shapes,
)

from diffax.models import TutorialUNet, parameter_count
from diffax.models.quick_init import init


@pytest.mark.parametrize("num_classes, count", [(None, 23_332_739), (10, 23_335_299)])
def test_the_tutorials_number_of_parameters(num_classes, count):
    model = TutorialUNet(num_classes=num_classes)
    assert parameter_count(shapes(model, (64, 64, 3))) == count


@pytest.mark.slow
def test_every_example_hears_its_own():
    model = TutorialUNet(channels=4, time_size=8, num_classes=3)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 16, 1)), jnp.array([1.0, 7.0])
    # Label 3 is the null label.
    told = {"label": jnp.array([0, 2])}
    out = check_every_example_hears_its_own(model, x, t, told, label=3)
    assert out.shape == x.shape


@pytest.mark.slow
def test_biases_begin_as_the_originals_do():
    model = TutorialUNet(channels=4, time_size=8, num_classes=3)
    params = init(model, jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros(1))
    check_biases_begin_within_the_fan_in(params, zero=("attn1",))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TutorialUNet(time_size=2), "time_size: expected whole numbers from 4"),
        (lambda: shapes(TutorialUNet(), (8, 12, 3)), "divisible by 8.*three stages.*got 8x12"),
        (lambda: shapes(TutorialUNet(), condition={"label": 0}), "reads nothing: pass {}"),
    ],
)
def test_faults(make, message):
    with pytest.raises(ValueError, match=message):
        make()
