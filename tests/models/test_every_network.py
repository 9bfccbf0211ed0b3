"""What holds for every network of the literature: half precision, plain fields, any batch."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from diffax.models import ADM, DiT, EDM2UNet, NoisyClassifier, SongUNet, TutorialUNet

LEVELS = {"channels": 16, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}

NETWORKS = {
    "dit": DiT(features=16, depth=1, num_heads=2),
    "ddpm++": SongUNet(**LEVELS),
    "ncsn++": SongUNet.ncsnpp(**LEVELS),
    "skip": SongUNet(**LEVELS, encoder="skip", decoder="skip"),
    "adm": ADM(**LEVELS, num_heads=2),
    "iddpm": ADM(**LEVELS, num_heads=2, resample="conv"),
    "classifier": NoisyClassifier(**LEVELS, num_heads=2),
    "edm2": EDM2UNet(**LEVELS, head_size=16),
    "tutorial": TutorialUNet(channels=8, time_size=16),
}


def equations(jaxpr):
    """Those of a program, and of the functions in it wherever they are called."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            yield from equations(value.jaxpr) if hasattr(value, "jaxpr") else ()


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_for_the_maps_and_not_for_parameters_or_answers(name):
    model = NETWORKS[name].clone(dtype="bfloat16")
    x, t = jnp.zeros((2, 8, 8, 3)), jnp.zeros(2)
    init = jax.make_jaxpr(model.init_with_output, return_shape=True)
    program, (out, params) = init(jax.random.key(0), x, t)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    maps = [
        str(eqn.outvars[0].aval.dtype)
        for eqn in equations(program.jaxpr)
        if eqn.primitive.name in ("dot_general", "conv_general_dilated")
    ]
    # The embedding, the last map and the softmax's own product are float32.
    assert maps.count("bfloat16") > maps.count("float32")


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_are_plain_data(name):
    model = NETWORKS[name]
    names = {f.name for f in dataclasses.fields(model)} - {"parent", "name"}
    record = json.loads(json.dumps({field: getattr(model, field) for field in names}))
    again = type(model)(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})
    assert again == model and hash(again) == hash(model)
