"""What users rely on: one compilation, seeds, sizes, tiles, errors."""

import dataclasses

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

import diffax
from diffax.codecs import Latent
from diffax.codecs.latent import _tiled
from diffax.generation import (
    Request,
    image_to_image,
    inpaint,
    outpaint,
    refine,
    text_to_image,
    unconditional,
    variations,
)
from diffax.generation.generate import _draw, _encode
from diffax.pretrained import Components, model_of
from diffax.pretrained.plan import SCHEDULERS, plan

# One shape and sampler throughout: compiling is what takes the time.
SIZE = dict(height=16, width=16, steps=2, sampler="ddim")


def compilations() -> int:
    """Programs made so far of the two that take time: the sampling loop and the text encoders."""
    return _draw(quick=False)._cache_size() + _encode._cache_size()


@pytest.fixture(scope="module")
def sd():
    return tiny_pipelines.pipeline("sd")


@pytest.fixture(scope="module")
def ddpm():
    config = {**tiny.CONFIGS["class_conditional"], "in_channels": 3, "sample_size": 8}
    scheduler = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000}
    return model_of(Components(tiny_pipelines.network(config), None, (), (), scheduler))


def test_one_compilation(sd):
    """New prompts, seeds, scales, strengths and etas run the same programs."""
    shape = dict(steps=2, sampler="ddim")
    image = tiny.image()[:16, :16]
    image_to_image(sd, "cat", image, strength=0.5, eta=0.5, guidance_rescale=0.5, **shape)
    before = compilations()
    for i in range(2):
        image_to_image(
            sd, "at " * (i + 1), image, strength=0.3 + 0.1 * i, eta=0.2 * i, seed=i,
            guidance=1.5 + i, guidance_rescale=0.1 + 0.1 * i, negative="cat", **shape,
        )  # fmt: skip
    assert compilations() == before


def test_a_seed_gives_the_same_image_in_any_batch(sd):
    both = text_to_image(sd, "cat", num=2, seed=[5, 9], **SIZE)
    other = text_to_image(sd, "cat", num=2, seed=[9, 5], **SIZE)
    np.testing.assert_allclose(both, other[::-1], atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 0.01
    assert both.shape == (2, 16, 16, 3) and np.abs(both).max() <= 1


@pytest.mark.slow
def test_guidance_of_one_is_the_conditional_model(sd):
    guided = text_to_image(sd, "cat", guidance=1.0000001, **SIZE)
    plain = text_to_image(sd, "cat", guidance=1, **SIZE)
    np.testing.assert_allclose(guided, plain, atol=1e-4)


@pytest.mark.slow
def test_a_sampler_of_ours(sd):
    out = text_to_image(
        sd, "cat", sampler=diffax.solvers.DPMSolverPP(order=3), spacing="karras",
        height=16, width=16,
        steps=3,
    )  # fmt: skip
    assert np.isfinite(out).all()


def test_every_named_sampler_has_a_plan():
    for name in SCHEDULERS:
        setup = plan(tiny.SCHEDULER, 6, sampler=name)
        assert setup.grid.t.shape == (7,), name


def test_strength_moves_the_start_and_keeps_the_steps():
    for strength in (0.25, 0.5, 1.0):
        grid = plan(tiny.SCHEDULER, 10, sampler="ddim", strength=strength).grid
        assert grid.t.shape == (11,)
        assert abs(float(grid.t[0]) - 1000 * strength) <= 1000 * strength / 10 + 1


def test_the_known_part_is_kept_exactly(sd):
    image, mask = tiny.image()[:16, :16], np.zeros((16, 16))
    mask[4:10, 6:12] = 1
    latents = inpaint(sd, "cat", image, mask, steps=2, sampler="ddim", decode=False)
    clean = sd.codec.encode(jnp.asarray(image)[None])
    kept = mask[::2, ::2] == 0
    np.testing.assert_array_equal(latents[0][kept], clean[0][kept])
    assert np.abs(latents[0][~kept] - clean[0][~kept]).min() > 0


@pytest.mark.slow
def test_outpainting_grows_the_image(sd):
    out = outpaint(sd, "cat", tiny.image()[:16, :16], right=8, overlap=4, steps=2)
    assert out.shape == (1, 16, 24, 3)
    with pytest.raises(ValueError, match="expected some pixels to add"):
        outpaint(sd, "cat", tiny.image()[:16, :16])


@pytest.mark.slow
def test_variations_differ(sd):
    out = variations(sd, tiny.image()[:16, :16], num=2, steps=2, sampler="ddim")
    assert out.shape == (2, 16, 16, 3) and np.abs(out[0] - out[1]).max() > 0.01


@pytest.mark.parametrize("height, width", [(40, 24), (20, 33), (16, 16), (15, 50)])
def test_tiles_are_blended_without_a_trace(height, width):
    """With a local function, tiles must give exactly what the whole gives."""
    latents = jnp.asarray(tiny.draws("tiles", 1, height, width, 3))
    shapes = []

    def local(z):
        shapes.append(z.shape)
        return jnp.repeat(jnp.repeat(2 * z, 2, axis=1), 2, axis=2)

    tiled = _tiled(local, latents, 16, 2, 1)
    assert len(set(shapes)) == 1 and max(shapes[0][1:3]) <= 16  # one program, small images
    np.testing.assert_allclose(tiled, local(latents), atol=1e-5)


def test_tiled_encoding_and_decoding(sd):
    def tiled(size):
        return Latent(sd.codec.module, sd.codec.params, tile=size)

    image = jnp.asarray(tiny.image())[None]
    latents = tiled(16).encode(image)
    assert latents.shape == (1, 16, 12, 4)
    assert tiled(16).decode(latents).shape == image.shape
    np.testing.assert_array_equal(tiled(64).encode(image), sd.codec.encode(image))
    with pytest.raises(ValueError, match="tile must be a multiple of 2 and at least 16"):
        tiled(13).decode(latents)


@pytest.mark.slow
def test_a_size_of_height_and_width():
    """`sample_size` may be a pair; the image to start from has its own size."""
    components = tiny_pipelines.components("sd")
    module = components.unet.module.clone(sample_size=(8, 4))
    unet = dataclasses.replace(components.unet, module=module)
    model = model_of(dataclasses.replace(components, unet=unet))
    options = dict(steps=2, sampler="ddim")
    assert model.shape == (8, 4, 4)
    assert text_to_image(model, "cat", **options).shape == (1, 16, 8, 3)
    assert image_to_image(model, "cat", tiny.image()[:16, :16], **options).shape == (1, 16, 16, 3)


def test_pixels_without_a_text(ddpm):
    out = unconditional(ddpm, labels=[1, 2], steps=2, sampler="ddim")
    again = unconditional(ddpm, labels=[1, 3], steps=2, sampler="ddim")
    assert out.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(out[0], again[0], atol=1e-5)
    assert np.abs(out[1] - again[1]).max() > 1e-3
    with pytest.raises(ValueError, match="always shows a class: give labels, from 0 to 9"):
        unconditional(ddpm, steps=2)
    with pytest.raises(ValueError, match='no "no class" to be guided away from'):
        unconditional(ddpm, labels=[1], guidance=2, steps=2)
    with pytest.raises(ValueError, match="labels must lie in 0 to 9, got 10"):
        unconditional(ddpm, labels=[10], steps=2)


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(prompt=""), "none of them empty"),
        (dict(prompt=[]), "expected one of prompt or more, got none"),
        (dict(prompt=["cat", "  "]), "none of them empty"),
        (dict(prompt="cat " * 700), "has 700 tokens; expected at most 600"),
        (dict(height=15), "multiples of 2, got 15x32; the nearest are 16x32"),
        (dict(sampler="dpm++"), r"no sampler 'dpm\+\+'"),
        (dict(sampler="rk45"), "unknown sampler 'rk45'; known: ddpm, ddim"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(steps=1001), "the schedule has 1000"),
        (dict(guidance=-0.5), "guidance must be finite and at least 0"),
        (dict(guidance=float("nan")), "guidance must be finite"),
        (dict(guidance_rescale=2), "guidance_rescale must be in"),
        (dict(negative=["a", "b"]), "one negative prompt, or one for each of 1"),
        (dict(seed=[1, 2]), "one seed, or one for each of 1 samples, got 2"),
        (dict(noise=np.zeros((1, 2, 2, 4))), r"expected noise of shape \[1, 16, 16, 4\]"),
        (dict(clip_skip=4), "clip_skip must be at most 3"),
        (dict(crop=(1, 2)), "crop says nothing to this model"),
        (dict(labels=[1]), "labels says nothing to this model"),
        (dict(cfg_scale=7), "cfg_scale is no field of a request and no option of this sampler"),
        (dict(sampler="euler", eta=0.5), "eta (is no field|changes nothing)"),
    ],
)
def test_errors_of_options(sd, options, said):
    options = {"prompt": "cat", "steps": 2, "height": 32, "width": 32} | options
    with pytest.raises(ValueError, match=said):
        text_to_image(sd, **options)


def test_options_of_the_sampler(sd):
    """They reach the solver, whatever wraps it."""

    def solver(**options):
        request = Request.of(**options)
        return sd.settings.plan(sd.schedule, sd.parameterization, request).solver

    assert solver(sampler="ddim", eta=0.5).eta == 0.5
    # A spacing that does not fit the reference's fixed stride: the solver is wrapped.
    assert solver(sampler="ddim", spacing="linspace", steps=7, eta=0.5).solver.eta == 0.5
    assert solver(sampler="dpmpp_2m", order=3).order == 3
    own = diffax.solvers.DPMSolverPP(order=2)
    assert solver(sampler=own, order=3).order == 3


def test_errors_of_images_and_masks(sd, ddpm):
    image = tiny.image()
    with pytest.raises(ValueError, match="mask of the image's size 32x24, got shape \\(24, 32\\)"):
        inpaint(sd, "cat", image, np.zeros((24, 32)))
    with pytest.raises(ValueError, match="multiples of 2, got 31x24"):
        image_to_image(sd, "cat", image[:31])
    with pytest.raises(ValueError, match="expected a colour image"):
        image_to_image(sd, "cat", image[..., 0])
    with pytest.raises(ValueError, match="floats within \\[-1, 1\\]"):
        image_to_image(sd, "cat", image * 255)
    with pytest.raises(ValueError, match="strength must be in \\(0, 1\\], got 0"):
        image_to_image(sd, "cat", image, strength=0)
    with pytest.raises(ValueError, match="take at most 10 steps"):
        image_to_image(sd, "cat", image, strength=0.01, steps=20)
    with pytest.raises(ValueError, match="the size is the image's"):
        image_to_image(sd, "cat", image, height=32)
    with pytest.raises(ValueError, match="use class_to_image"):
        text_to_image(ddpm, "cat")
    with pytest.raises(ValueError, match="expected latents of 1 samples, got 2"):
        refine(sd, "cat", np.zeros((2, 8, 8, 4)))


@pytest.mark.slow
def test_bfloat16_networks_give_close_images(sd):
    half = tiny_pipelines.pipeline("sd", dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    options = dict(steps=2, height=16, width=16, decode=False, sampler="ddim")
    a, b = text_to_image(half, "cat", **options), text_to_image(sd, "cat", **options)
    assert a.dtype == jnp.float32
    assert np.abs(a - b).max() < 0.1 * np.abs(b).max()


@pytest.mark.slow
def test_export_ahead_of_time(sd):
    """The recipe of docs/pretrained.md."""
    pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers")
    request = Request(steps=2, sampler="dpmpp_2m")
    setup = sd.settings.plan(sd.schedule, sd.parameterization, request)

    def sampler(params, asked, null, noise, seeds, guidance):
        network = diffax.Network(sd.network.module.apply, params, asked, setup.parameterization)
        denoiser = diffax.guidance.ClassifierFree(network, null, guidance)
        keys = jax.vmap(jax.random.key)(seeds)
        return diffax.sample(denoiser, setup.solver, setup.grid, setup.start_scale * noise, keys)

    noise = jnp.asarray(tiny.draws("noise", 1, 8, 8, 4))
    asked, null = ({"context": jnp.asarray(tiny.draws(n, 1, 77, 32))} for n in ("asked", "null"))
    arguments = (sd.network.params, asked, null, noise, jnp.zeros(1, jnp.uint32), jnp.float32(3))
    stored = jax.export.export(jax.jit(sampler))(*jax.eval_shape(lambda: arguments)).serialize()
    out = jax.export.deserialize(stored).call(*arguments)
    np.testing.assert_allclose(out, jax.jit(sampler)(*arguments), atol=1e-4)


@pytest.mark.slow
def test_batches_over_devices():
    """On 4 simulated devices, in a process of its own."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    code = """
import jax, numpy as np, tiny_pipelines
from diffax.generation import text_to_image
pipe = tiny_pipelines.pipeline("sd")
options = dict(steps=2, height=16, width=16, num=4, sampler="ddim", decode=False)
alone = text_to_image(pipe, "cat", **options)
mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
spread = text_to_image(pipe.on(mesh), "cat", **options)
assert len(spread.sharding.device_set) == 4, spread.sharding
np.testing.assert_allclose(alone, spread, atol=1e-4)
try:
    text_to_image(pipe.on(mesh), "cat", **{**options, "num": 3})
except ValueError as error:
    assert "cannot be split over 4 devices" in str(error)
else:
    raise AssertionError("a batch of 3 was taken")
"""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4",
        "PYTHONPATH": f"{here}{os.pathsep}{here.parents[1]}",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
