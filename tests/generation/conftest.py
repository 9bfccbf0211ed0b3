"""Two models that every test here runs on: one as train.py makes it, one as it is published."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))

import tiny_pipelines

from diffax import codecs, conditioning, parameterization, schedules
from diffax.generation import Model, Sampling
from diffax.models import BoundModule, UNet
from diffax.solvers import DDIM


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and how its samples are asked for.

    Attributes:
        model: with `ddim` and two steps as its own settings.
        one: a request that says one thing.
        two: a request that says two things, the first of them the same.
        unknown: fields of a request that this model does not understand, with values.
    """

    model: Model
    one: dict
    two: dict
    unknown: dict


def trained() -> Case:
    """Classes, pixels, a small U-Net with random weights."""
    network = UNet(channels=8, multipliers=(1, 1), num_res_blocks=1, num_classes=3)
    network = network.clone(attention_resolutions=(), out_channels=3)
    shape = (16, 16, 3)
    inputs = (jnp.zeros((1, *shape)), jnp.zeros(1), {"label": jnp.zeros(1, jnp.int32)})
    params = network.init(jax.random.key(0), *inputs)
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
    # The last layer starts at zero: a model that has learned nothing answers nothing.
    params = jax.tree.map(lambda p, k: p + 0.2 * jax.random.normal(k, p.shape), params, keys)
    model = Model(
        BoundModule(network, params),
        schedules.cosine(100),
        parameterization.V(),
        codecs.Pixels(),
        conditioning.Labels(num_classes=3, names=("fox", "owl", "elk")),
        Sampling(solver=DDIM(), steps=2, num=4, guidance=2.0),
        shape,
    )
    return Case(model, {"labels": 1}, {"labels": [1, "elk"]}, {"prompt": "a fox", "clip_skip": 1})


def published() -> Case:
    """Texts, latents, the smallest Stable Diffusion."""
    model = tiny_pipelines.pipeline("sd")
    settings = dataclasses.replace(model.settings, steps=2, guidance=2.0)
    model = dataclasses.replace(model, settings=settings, shape=(8, 8, 4))
    return Case(model, {"prompt": "cat"}, {"prompt": ["cat", "at"]}, {"labels": 1, "crop": (1, 2)})


@pytest.fixture(scope="session", params=[trained, published], ids=lambda make: make.__name__)
def case(request) -> Case:
    return request.param()


# The published model's programs take long to compile: these tests run on it by default, the others
# with the slow ones.
_QUICK = (
    "test_a_model_is_printed_in_one_line",
    "test_errors",
    "test_what_a_model_does_not_understand_is_refused",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        case = getattr(item, "callspec", None)
        made = case is not None and case.params.get("case") is published
        if made and Path(item.fspath).parent.name == "generation":
            if item.originalname not in _QUICK:
                item.add_marker(pytest.mark.slow)
