"""One optimizer step of fine-tuning is the reference's: tests/golden/tuning/make_steps.py."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import one_step as shared

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))
import tiny_pipelines

from diffax import adapters, codecs, conditioning
from diffax.adapters.paths import flat
from diffax.data import Column, Spec
from diffax.losses import Constant, MinSNR
from diffax.models import BoundModule, controlled
from diffax.models.controlnet import control_for
from diffax.noun import noun
from diffax.objectives import Denoising
from diffax.pretrained import filling, naming, with_token
from diffax.pretrained.configs import parameter_shapes
from diffax.schedules import ScaledLinear
from diffax.training import AdamW, EMAConfig, Optimizer
from diffax.training.setup import example_of
from diffax.training.state import make_begin
from diffax.training.step import Problem, make_step

GOLDEN = Path(__file__).parents[1] / "golden/tuning/steps.npz"

# The issue asks for 1e-5 and 1e-4. Sums in another order give about 1e-6 of a loss near 1; a change
# of at most 1e-2 a weight is then known to a few 1e-6.
LOSS, WEIGHTS = 5e-6, 1e-5


@noun
class Given:
    """The times of the script."""

    def __call__(self, key, schedule, batch):
        return schedule.at(jnp.asarray(shared.TIMES))

    def rank(self, point, schedule):
        return point.t / schedule.num_steps


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """A published network that lies in no file."""

    bound: Any

    def open(self):
        return self.bound.module, self.bound.params


@functools.cache
def model():
    return tiny_pipelines.pipeline("sd")


def denoising(case) -> Denoising:
    published = model()
    conditioner = dataclasses.replace(published.conditioner, dropout=0.0)
    adapter = adapters.Everything()
    if case == "lora":
        conditioner = dataclasses.replace(conditioner, trained=True)
        adapter = adapters.LowRank(shared.RANK, shared.ALPHA, shared.PATTERN)
    elif case == "textual_inversion":
        conditioner = dataclasses.replace(conditioner, trained=True)
        conditioner = with_token(conditioner, "<new>", shared.VECTORS, "cat")
        adapter = adapters.Subset("new_embedding")
    network = published.network
    if case == "controlnet":
        network = controlled(network, control_net(network.module))
        conditioner = conditioning.Joined((conditioner, conditioning.Control()))
        adapter = adapters.Subset("/controls_0/")
    return Denoising(
        network=InMemory(network),
        schedule=ScaledLinear(),
        times=Given(),
        weighting=MinSNR(shared.GAMMA) if case == "full" else Constant(),
        conditioner=conditioner,
        codec=codecs.Identity(),
        adapter=adapter,
    )


def control_net(unet) -> BoundModule:
    widths = tuple(shared.CONTROL["conditioning_embedding_out_channels"])
    module = control_for(unet, conditioning_embedding_out_channels=widths)
    shapes = parameter_shapes(module)
    return BoundModule(module, filling.fill(shapes, tiny_pipelines.Formula(shapes)))


def batch_of(case) -> dict[str, np.ndarray]:
    captions = shared.NEW_CAPTIONS if case == "textual_inversion" else shared.CAPTIONS
    batch = {"x": shared.LATENTS, "caption": np.array(captions)}
    if case == "prior":
        batch["weight"] = np.array([2, 2 * shared.PRIOR_WEIGHT], np.float32)
    if case == "controlnet":
        batch["control"] = shared.control_image()
    return batch


def one_step(case) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The step's metrics, and what is learned before and after it."""
    batch = batch_of(case)
    columns = {
        name: Column(v.shape[1:], "str" if v.dtype.kind == "U" else str(v.dtype))
        for name, v in batch.items()
    }
    spec = Spec(columns, size=2)
    objective = denoising(case).build(spec)
    optimizer = Optimizer(
        method=AdamW(eps=shared.EPSILON, weight_decay=shared.DECAY),
        learning_rate=shared.LEARNING_RATE,
        clip=None if case == "textual_inversion" else 1.0,
    )
    build = functools.partial(optimizer.build, steps=1, batch_size=2)
    begin = make_begin(objective, example_of(objective, spec), build, EMAConfig(decays=()))
    state, frozen = jax.jit(begin)(0, objective.loaded)
    if case == "lora":
        state = dataclasses.replace(state, trainable=factors(state.trainable, frozen["adapter"]))
    problem = Problem(objective.loss, build(state.trainable), EMAConfig(decays=()), batch_size=2)
    numbers = jax.tree.map(jnp.asarray, objective.columns(batch))
    after, metrics = jax.jit(make_step(problem))(state, frozen, numbers)
    return metrics, state.trainable, after.trainable


def published_name(dotted: str) -> str:
    """`network.params.mid_block....kernel` -> `unet.mid_block....weight`."""
    path = tuple(dotted.split("."))
    if path[0] == "network":
        return "unet." + naming.published_key(path[2:])
    return "text_encoder." + naming.published_key(path[3:])


def factors(trainable, params):
    """Low-rank factors by the script's formula instead of random ones."""
    kernels, filled = flat(params), {}
    for dotted in trainable:
        kernel = kernels[dotted.replace(".", "/")]
        shape = naming.published_shape("kernel", kernel.shape)
        key = published_name(dotted).split(".", 1)[1]
        down, up = shared.low_rank(key, shape)
        down = down.transpose(2, 3, 1, 0) if down.ndim == 4 else down.T
        filled[dotted] = {"down": down.reshape(-1, shared.RANK), "up": up.T}
    assert jax.tree.map(jnp.shape, filled) == jax.tree.map(jnp.shape, trainable)
    return jax.tree.map(jnp.asarray, filled)


def changes(case, before, after) -> dict[str, np.ndarray]:
    """The change of every learned tensor, named and laid out as in the script."""
    moved = flat(jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), before, after))
    if case == "textual_inversion":
        (table,) = moved.values()
        return {"table": table}
    if case != "lora":
        skip = 3 if case == "controlnet" else 2  # network/params/controls_0
        return {
            naming.published_key(path[skip:]): naming.to_published(path[-1], value)
            for path, value in ((tuple(name.split("/")), v) for name, v in moved.items())
        }
    found = {}
    for name, value in moved.items():
        dotted, _, part = name.rpartition("/")
        key = published_name(dotted)
        is_conv = part == "down" and value.shape[0] % 9 == 0 and "conv" in key
        if is_conv:
            value = value.reshape(3, 3, -1, shared.RANK).transpose(3, 2, 0, 1)
        found[f"{key} {part}"] = value if is_conv else value.T
    return found


CASES = [
    pytest.param("full", marks=pytest.mark.slow),
    pytest.param("prior", marks=pytest.mark.slow),
    pytest.param("lora", marks=pytest.mark.slow),
    "textual_inversion",
    pytest.param("controlnet", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("case", CASES)
def test_loss_and_weights_are_the_stored_ones(case):
    metrics, before, after = one_step(case)
    golden = np.load(GOLDEN)
    loss, norm = golden[f"{case} scalars"]
    np.testing.assert_allclose(metrics["loss"], loss, rtol=LOSS)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)
    moved = changes(case, before, after)
    names = golden[f"{case} names"].tolist()
    assert sorted(moved) == names
    for name, stored in zip(names, golden[f"{case} digests"], strict=True):
        own = shared.digest(name, moved[name])
        np.testing.assert_allclose(own[0], stored[0], rtol=1e-3, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(own[1:], stored[1:], atol=WEIGHTS, rtol=0, err_msg=name)


@pytest.mark.parity
@pytest.mark.parametrize("case", [c if isinstance(c, str) else c.values[0] for c in CASES])
def test_every_weight_is_the_references(case):
    pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")
    sys.path.insert(0, str(GOLDEN.parent))
    import make_steps

    theirs = make_steps.one_step(case)
    metrics, before, after = one_step(case)
    np.testing.assert_allclose(metrics["loss"], theirs.pop("loss"), rtol=LOSS)
    np.testing.assert_allclose(metrics["gradient_norm"], theirs.pop("norm"), rtol=1e-5)
    moved = changes(case, before, after)
    assert sorted(moved) == sorted(theirs)
    for name, change in theirs.items():
        np.testing.assert_allclose(moved[name], change, atol=WEIGHTS, rtol=0, err_msg=name)
