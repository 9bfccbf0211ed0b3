"""Every network agrees with the reference library: activations stored by make_components.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models
import tiny_pipelines

GOLDEN = np.load(Path(__file__).parents[1] / "golden/pretrained/components.npz")

# The issue asks for 1e-4; float32 sums in another order give a few 1e-6.
TOLERANCE = 2e-5


def build(name):
    network = tiny_pipelines.network(tiny_models.CONFIGS[name])
    return network.module, network.params


def close(ours, name):
    golden = GOLDEN[name]
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() <= TOLERANCE * np.abs(golden).max(), name


def run_unet(name, **residuals):
    module, params = build(name)
    inputs = {k: jnp.asarray(v) for k, v in tiny_models.unet_inputs(name).items()}
    x, t = inputs.pop("x"), inputs.pop("t")
    return jax.jit(lambda p, c: module.apply(p, x, t, c, **residuals))(params, inputs)


# Compiling takes the time: the families that differ least from the others are slow tests.
SLOW = ("unet_sd2", "unet_sdxl", "unet_variants", "class_conditional")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n
        for n in tiny_models.CONFIGS
        if n in GOLDEN
    ],
)
def test_unet(name):
    close(run_unet(name), name)


def test_unet_takes_controlnet_residuals():
    skips, mid = tiny_models.control_residuals()
    out = run_unet("unet_sd1", down_residuals=tuple(skips), mid_residual=mid)
    close(out, "unet_sd1 with control")


def test_autoencoder():
    module, params = build("vae")
    apply = jax.jit(module.apply, static_argnames="method")
    posterior = apply(params, tiny_models.draws("picture", 2, 16, 12, 3), method="encode")
    close(posterior.mean, "vae mean")
    close(posterior.log_variance, "vae logvar")
    close(apply(params, tiny_models.draws("latent", 2, 8, 6, 4), method="decode"), "vae decoded")


def test_vector_quantized_autoencoder():
    module, params = build("vq")
    apply = jax.jit(module.apply, static_argnames="method")
    latents = apply(params, tiny_models.draws("picture", 2, 16, 12, 3), method="encode")
    close(latents, "vq latents")
    close(apply(params, tiny_models.draws("codes", 2, 8, 6, 3), method="decode"), "vq decoded")


@pytest.mark.parametrize("name", ["clip_l", "clip_h"])
def test_text_encoder(name):
    module, params = build(name)
    out = jax.jit(module.apply)(params, tiny_models.token_ids())
    close(out.last[:, ::8], f"{name} last")
    close(jnp.stack(out.hidden)[:, :, ::8], f"{name} hidden")
    close(out.projected if name == "clip_h" else out.pooled, f"{name} pooled")
