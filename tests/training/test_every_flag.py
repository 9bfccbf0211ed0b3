"""No flag without a meaning: another value makes another program, or is refused."""

import dataclasses
import typing
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import Nothing
from diffax.data import Toy
from diffax.losses import EvenLogSNR, Likelihood, LogitNormal, Shifted
from diffax.models import UNet, VectorMLP
from diffax.objectives import Denoising
from diffax.pretrained import PublishedSchedule
from diffax.schedules import VP
from diffax.training import EMAConfig, Optimizer, choices

SPEC = Toy("moons", num=8).load().spec
CONTINUOUS = (EvenLogSNR, Likelihood, LogitNormal, Shifted)  # nothing for a table


def other_values(kind, name, value):
    """Values of a field's type besides its own: the first that a noun takes is looked at."""
    hint = choices.types_of(kind)[name]
    if typing.get_origin(hint) is Literal:
        return [v for v in typing.get_args(hint) if v != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return []
    if str in typing.get_args(hint):  # a pattern
        return [".*"]
    if isinstance(value, int):
        return [value + 1, value * 2 or 7, value - 1]
    number = None if value is None else float(np.asarray(value).ravel()[0])
    return [0.3, 0.7] if number is None else [number * 0.5 or 0.5, number + 0.125, number * 2]


def nouns(*families):
    """(family, noun) of everything that needs no value of its own."""
    for family in families:
        for kind in choices.families()[family].values():
            if kind in FROM_FOLDERS:
                continue
            try:
                yield family, kind()
            except (TypeError, ValueError):
                continue


def traced(f, *arguments):
    """A program as text, with the numbers that it holds."""
    closed = jax.make_jaxpr(f)(*arguments)
    return str(closed), [np.asarray(c).tobytes() for c in jax.tree.leaves(closed.consts)]


def objective(family, noun):
    """The program of a loss."""
    fields = {"network": VectorMLP(features=4), "conditioner": Nothing(), family: noun}
    if isinstance(noun, CONTINUOUS):
        fields["schedule"] = VP()
    built = Denoising(**fields).build(SPEC)
    batch = {"x": jnp.zeros((2, 2))}
    trainable, frozen = jax.eval_shape(
        lambda: built.init(jax.random.key(0), {"x": jnp.zeros((1, 2))}, {})
    )
    return traced(built.loss, trainable, frozen, batch, jax.random.key(0))


def optimizer(family, noun):
    """The program of an update."""
    options = noun if family == "optimizer" else Optimizer(**{family: noun})
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    update = options.build(params, steps=10, batch_size=2)
    state = jax.eval_shape(update.init, params)
    return traced(update.update, params, state, params)


def averages(family, noun):
    return traced(lambda step: noun.betas(step, 2), jnp.zeros((), jnp.int32))


# What only sampling looks at, or only the first step: where learning starts.
OF_OTHERS = {
    "EDM": ("sigma_min",),
    "LearnedLinear": ("gamma_min", "gamma_max"),
    "LearnedMonotone": ("gamma_min", "gamma_max"),
}
FROM_FOLDERS = (PublishedSchedule,)

CASES = [
    *((objective, f, n) for f, n in nouns("schedule", "times", "weighting")),
    (objective, "network", VectorMLP(features=4)),
    *((optimizer, f, n) for f, n in nouns("method", "decay")),
    (optimizer, "optimizer", Optimizer(warmup_steps=3)),
    (averages, "ema", EMAConfig(half_lives=(10.0,), widths=(0.1,))),
]


def case(program, family, noun):
    marks = [pytest.mark.slow] if family == "schedule" else []
    return pytest.param(program, family, noun, marks=marks, id=f"{family}-{type(noun).__name__}")


@pytest.mark.filterwarnings("ignore:schedule .* ends at alpha_bar_T")
@pytest.mark.parametrize("program, family, noun", [case(*one) for one in CASES])
def test_another_value_is_another_program(program, family, noun):
    before = program(family, noun)
    without = []
    for name, value in choices.fields(noun):
        if choices.is_node(value) or isinstance(value, tuple):
            continue
        if name in OF_OTHERS.get(type(noun).__name__, ()):
            continue
        for other in other_values(type(noun), name, value):
            try:
                changed = program(family, choices.replaced(noun, {name: other}))
            except ValueError:
                continue
            if changed == before:
                without.append(f"{name}: {value} -> {other}")
            break
    assert without == []


# Values that differ from the defaults and that a small U-Net takes.
OF_A_UNET = {
    "channels": 16,
    "multipliers": (1, 1),
    "num_res_blocks": 2,
    "attention_resolutions": (),
    "num_heads": 2,
    "head_size": 4,
    "dropout": 0.5,
    "num_classes": 3,
    "context_size": 5,
    "embedding_size": 5,
    "out_channels": 2,
    "learned_variance": True,
    "downsample": "max",
    "upsample": "bilinear",
    "attention": "tutorial",
    "scale_shift_norm": True,
    "time_scale": 2.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0.0,
    "waves": (7,),
    "remat": True,
    "dtype": "bfloat16",
    "patch": 2,
    "extra_channels": 2,
    "corrects": True,
}


def unet(**fields):
    """The program of a small U-Net."""
    model = UNet(**{"channels": 8, "multipliers": (1, 2), "num_res_blocks": 1} | fields)
    x, t = jnp.zeros((1, 4, 4, 1)), jnp.zeros(1)
    sizes = {"context": (1, 2, 5), "embedding": (1, 5), "channels": (1, 4, 4, model.extra_channels)}
    condition = {n: jnp.zeros(s) for n, s in sizes.items() if n in model.reads}
    params = jax.eval_shape(model.init, jax.random.key(0), x, t, condition)

    def apply(params, key):
        return model.apply(params, x, t, condition, train=True, rngs={"dropout": key})

    return traced(apply, params, jax.random.key(0))


@pytest.mark.slow
def test_every_field_of_the_unet():
    own = {f.name for f in dataclasses.fields(UNet)} - {"parent", "name"}
    assert own == set(OF_A_UNET)
    base = {"attention_resolutions": (4, 2), "extra_channels": 1}
    before = unet(**base)
    same = [name for name, value in OF_A_UNET.items() if unet(**base | {name: value}) == before]
    assert same == []
