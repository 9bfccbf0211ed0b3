"""Class-conditional latent diffusion (CompVis' cin256-v2): loading, guidance, sample.py."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines
from PIL import Image
from test_full_size import Listing

import diffax
from diffax.commands import sample as command
from diffax.conditioning import Nothing
from diffax.generation import class_to_image, text_to_image, unconditional
from diffax.models import ClassEmbedder
from diffax.pretrained import (
    Components,
    families,
    filling,
    load_components,
    load_pipeline,
    model_of,
    naming,
    original,
)
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.plan import plan

FAMILY = "cin256-v2"
REAL = families.FAMILIES[FAMILY]

# 5 classes and "no class"; recognised by the real width, 512.
TINY = {
    "unet": {
        **REAL["unet"],
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 8,
    },
    "vae": {**tiny.CONFIGS["vq"], "scaling_factor": 1.0},
    "class_embedder": {**REAL["class_embedder"], "n_classes": 6},
    "scheduler": REAL["scheduler"],
}
LOCATORS = {
    "unet": original.unet_locator,
    "vae": original.autoencoder_locator,
    "class_embedder": original.class_locator,
}


def build(part):
    return tiny_pipelines.network(TINY[part])


@pytest.fixture(scope="module")
def pipe(parts):
    return model_of(parts)


@pytest.fixture(scope="module")
def parts():
    return Components(
        unet=build("unet"),
        vae=build("vae"),
        text_encoders=(),
        tokenizers=(),
        scheduler=TINY["scheduler"],
        class_embedder=build("class_embedder"),
    )


def original_tensors(parts):
    """The components' tensors under the original single file's names."""
    tensors = {}
    for part, locator in LOCATORS.items():
        network = getattr(parts, part)
        locate, prefix = locator(network.module), original.PREFIXES[part][0]
        for key, (leaf, value) in filling.leaves(network.params).items():
            array = naming.to_published(leaf, np.asarray(value))
            tensors[prefix + locate(key).key] = np.ascontiguousarray(array)
    return tensors


@pytest.fixture
def file(parts, tmp_path, monkeypatch):
    """A tiny model that looks like the published file, with the tables of its training."""
    # With one layer a level the first cross-attention comes sooner.
    monkeypatch.setattr(families, "_CONTEXT", families._CONTEXT.replace("s.4.1", "s.3.1"))
    monkeypatch.setitem(
        families.FAMILIES, FAMILY, TINY | {"class_embedder": REAL["class_embedder"]}
    )
    tables = {"betas": np.zeros(3, np.float32), "model_ema.decay": np.zeros((), np.float32)}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(original_tensors(parts) | tables, path)
    return path


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


# ---------------------------------------------------------------- the full-size model


@pytest.fixture(scope="module")
def listing():
    shapes = {}
    for part, locator in LOCATORS.items():
        module = module_from_config(REAL[part])
        locate, prefix = locator(module), original.PREFIXES[part][0]
        for key, (leaf, value) in filling.leaves(parameter_shapes(module)).items():
            shapes[prefix + locate(key).key] = naming.published_shape(leaf, tuple(value.shape))
    return shapes
    return shapes


@pytest.mark.slow
def test_the_published_model_by_names_and_shapes(listing):
    """Names of the original code; 400M in the U-Net, as Rombach et al. 2022, table 3, say."""
    unet, stage = "model.diffusion_model.", "first_stage_model."
    assert {
        "cond_stage_model.embedding.weight": (1001, 512),
        unet + "input_blocks.0.0.weight": (192, 3, 3, 3),
        unet + "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (384, 512),
        unet + "input_blocks.11.1.proj_in.weight": (960, 960, 1, 1),
        unet + "middle_block.1.transformer_blocks.0.attn2.to_v.weight": (960, 512),
        unet + "output_blocks.2.2.conv.weight": (960, 960, 3, 3),
        unet + "output_blocks.8.1.norm.weight": (384,),
        unet + "output_blocks.11.0.skip_connection.weight": (192, 384, 1, 1),
        stage + "quantize.embedding.weight": (8192, 3),
        stage + "encoder.down.1.downsample.conv.weight": (256, 256, 3, 3),
        stage + "decoder.mid.attn_1.q.weight": (512, 512),
        stage + "decoder.up.2.upsample.conv.weight": (512, 512, 3, 3),
        stage + "post_quant_conv.weight": (3, 3),
    }.items() <= {
        k: s[:2] if s[2:] == (1, 1) and "quant" in k else s for k, s in listing.items()
    }.items()
    # no attention at the latents' full size
    assert not any(
        unet + f"{a}_blocks.{i}.1.norm.weight" in listing
        for a, i in (("input", 1), ("input", 2), ("output", 9), ("output", 10), ("output", 11))
    )
    millions = sum(math.prod(s) for k, s in listing.items() if k.startswith(unet)) / 1e6
    assert round(millions, 2) == 400.92
    millions = sum(math.prod(s) for k, s in listing.items() if k.startswith(stage)) / 1e6
    assert round(millions, 2) == 55.32


def test_recognition(listing):
    assert families.family_of(Listing(listing)) == (FAMILY, REAL)
    fewer = listing | {families.CLASS_TABLE: (11, 512)}
    assert families.family_of(Listing(fewer))[1]["class_embedder"]["n_classes"] == 11
    four = listing | {"model.diffusion_model.input_blocks.0.0.weight": (192, 4, 3, 3)}
    with pytest.raises(ValueError, match="4 input channels is not supported"):
        families.family_of(Listing(four))
    # A U-Net of the same width that attends to something else, such as bounding boxes.
    boxes = {k: v for k, v in listing.items() if k != families.CLASS_TABLE}
    with pytest.raises(ValueError, match="width 512 and no classes is of no known family"):
        families.family_of(Listing(boxes))


def test_noise_schedule():
    """Linear in sqrt(beta) from 0.0015 to 0.0195; DDIM at times 1 + k * 1000 / S."""
    setup = plan(REAL["scheduler"], 4)
    np.testing.assert_array_equal(setup.grid.t[:-1], [751, 501, 251, 1])
    betas = np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    expected = np.sqrt(kept[[751, 501, 251, 1, 0]])
    np.testing.assert_allclose(setup.grid.alpha, expected, rtol=2e-6)


# ---------------------------------------------------------------- files


@pytest.mark.slow
def test_single_file(parts, file):
    again = load_components(file)
    same(again.unet, parts.unet)
    same(again.vae, parts.vae)
    same(again.class_embedder, parts.class_embedder)
    assert again.unet.module == parts.unet.module and again.vae.module == parts.vae.module
    assert again.class_embedder.module == parts.class_embedder.module
    assert again.scheduler == parts.scheduler


def test_moving_averages(parts, file):
    tensors = safetensors.numpy.load_file(file)
    prefix = "model.diffusion_model."
    for key in [k for k in tensors if k.startswith(prefix)]:
        tensors[original.ema_key(key.removeprefix(prefix))] = tensors[key] + 1
    safetensors.numpy.save_file(tensors, file)
    again = load_components(file, ema=True)
    same(again.unet.params, jax.tree.map(lambda x: np.asarray(x) + 1, parts.unet.params))
    same(again.class_embedder, parts.class_embedder)


@pytest.mark.parametrize(
    "name, said",
    [
        ("model.diffusion_model.out.2.bias", "1 missing: out.2.bias"),
        ("first_stage_model.quantize.embedding.weight", "1 missing: quantize.embedding.weight"),
        ("cond_stage_model.transformer.x", "1 unexpected: transformer.x"),
        ("control_model.x", r"belong to no component: \['control_model.x'\]"),
    ],
)
def test_every_tensor_is_accounted_for(file, name, said):
    tensors = safetensors.numpy.load_file(file)
    if tensors.pop(name, None) is None:
        tensors[name] = np.zeros(1, np.float32)
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(ValueError, match=said):
        load_pipeline(file)


def test_a_table_of_another_model(file):
    tensors = safetensors.numpy.load_file(file)
    tensors[families.CLASS_TABLE] = np.zeros((6, 500), np.float32)
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(ValueError, match=r"mis-shaped: embedding.weight \(expected \(6, 512\)"):
        load_pipeline(file)
    narrow = TINY | {"class_embedder": {**TINY["class_embedder"], "embed_dim": 500}}
    with pytest.raises(
        ValueError, match="wants a class of width 512, the class embedder gives 500"
    ):
        load_pipeline(file, configs=narrow)


def test_saving_says_what_there_is_no_layout_for(parts, tmp_path):
    with pytest.raises(ValueError, match="no pipeline with a class embedder; save the networks "):
        parts.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- images


def test_context_is_a_row_of_the_table(pipe):
    table = tiny.weight("embedding.weight", (6, 512))
    embedder = pipe.conditioner.embedder
    context = embedder(jnp.array([4, 0, 5]))
    assert context.shape == (3, 1, 512)
    np.testing.assert_array_equal(context[:, 0], table[[4, 0, 5]])
    assert pipe.conditioner.null == 5
    half = ClassEmbedder(6, 512, dtype="bfloat16")
    assert half.apply(embedder.params, jnp.array([1])).dtype == jnp.bfloat16


def with_table(pipe, change):
    """The pipeline with another table of classes."""
    params = jax.tree.map(lambda t: jnp.asarray(change(np.array(t))), pipe.conditioner.params)
    return dataclasses.replace(pipe, conditioner=pipe.conditioner.with_params(params))


OPTIONS = dict(steps=2, seed=3, decode=False)
# Guided and unguided runs are different programs: float32 rounding, through two steps.
CLOSE = dict(rtol=0, atol=2e-5)


@pytest.mark.slow
def test_guidance(pipe):
    unguided = class_to_image(pipe, [1, 4], guidance=1, **OPTIONS)
    assert unguided.shape == (2, 8, 8, 3)
    # Scale 1 is the conditional guess; exactly 1 leaves the other one out.
    np.testing.assert_allclose(
        class_to_image(pipe, [1, 4], guidance=1 + 1e-7, **OPTIONS), unguided, **CLOSE
    )
    guided = class_to_image(pipe, [1, 4], **OPTIONS)
    assert np.abs(guided - unguided).max() > 1e-2
    np.testing.assert_array_equal(guided, class_to_image(pipe, [1, 4], guidance=3, **OPTIONS))
    # Where every class is "no class", no scale changes anything.
    empty = with_table(pipe, lambda table: np.broadcast_to(table[-1], table.shape))
    nothing = unconditional(pipe, num=2, **OPTIONS)
    np.testing.assert_allclose(
        class_to_image(empty, [1, 4], guidance=7.0, **OPTIONS), nothing, **CLOSE
    )
    # Without guidance the last row is not looked at, with it it is.
    other = with_table(pipe, lambda table: np.concatenate([table[:-1], table[-1:] + 1]))
    np.testing.assert_array_equal(class_to_image(other, [1, 4], guidance=1, **OPTIONS), unguided)
    assert np.abs(class_to_image(other, [1, 4], **OPTIONS) - guided).max() > 1e-2
    np.testing.assert_array_equal(unconditional(pipe, labels=[1, 4], **OPTIONS), unguided)


@pytest.mark.slow
def test_guided_run_by_hand(pipe):
    """Two DDIM steps with eps = eps_null + scale (eps_class - eps_null)."""
    labels, scale, x = [2, 0], 2.5, tiny.draws("noise", 2, 8, 8, 3)
    out = class_to_image(pipe, labels, guidance=scale, noise=x, steps=2, decode=False)
    table = tiny.weight("embedding.weight", (6, 512))
    call = jax.jit(lambda x, t, context: pipe.network(x, t, {"context": context}))
    kept = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)
    for here, there in ((501, 1), (1, 0)):
        t = np.full(2, here, np.float32)
        eps, null = (call(x, t, table[rows][:, None]) for rows in (labels, [5, 5]))
        eps = null + scale * (eps - null)
        clean = (x - np.sqrt(1 - kept[here]) * eps) / np.sqrt(kept[here])
        x = np.float32(np.sqrt(kept[there]) * clean + np.sqrt(1 - kept[there]) * eps)
    np.testing.assert_allclose(out, x, **CLOSE)


@pytest.mark.slow
def test_images_and_their_number(pipe):
    options = OPTIONS | {"decode": True}
    drawn = class_to_image(pipe, [1, 4], **options)
    assert drawn.shape == (2, 16, 16, 3) and np.abs(drawn).max() <= 1
    latents = class_to_image(pipe, [1, 4], **OPTIONS)
    np.testing.assert_array_equal(drawn, pipe.codec.decode(latents))
    twice = class_to_image(pipe, 4, num=2, **OPTIONS)
    np.testing.assert_array_equal(twice[1], latents[1])


def test_errors(pipe):
    for labels in (None, []):
        with pytest.raises(ValueError, match="expected one"):
            class_to_image(pipe, labels)
    for labels in ([1.5], ["fox"], [True], [[1], [2]]):
        with pytest.raises(ValueError, match="labels must be whole numbers from 0 to 4, got"):
            class_to_image(pipe, labels)
    for labels in (-1, [0, 5], [1000], [2**40]):
        with pytest.raises(ValueError, match="labels must lie in 0 to 4, got"):
            class_to_image(pipe, labels)
    with pytest.raises(ValueError, match="lie in 0 to 4"):
        unconditional(pipe, labels=[5])
    with pytest.raises(ValueError, match="negative says nothing to this model"):
        class_to_image(pipe, 1, negative="blurred")
    with pytest.raises(ValueError, match="no text encoder: use class_to_image"):
        text_to_image(pipe, "a fox")
    plain = dataclasses.replace(pipe, conditioner=Nothing())
    with pytest.raises(ValueError, match="no classes: use unconditional"):
        class_to_image(plain, 1)


def test_on_several_devices_everything_is_there(pipe):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = pipe.on(mesh)
    assert jax.tree.leaves(spread.conditioner)[0].sharding.mesh == mesh


# ---------------------------------------------------------------- sample.py


def draw(file, *arguments):
    arguments = ["--pretrained", file, "--steps", 2, "--quiet", *arguments]
    return command.main([str(a) for a in arguments])


@pytest.mark.slow
def test_sample_py(pipe, file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["--label", 1, 4, "--num", 2, "--guidance", 2.5, "--seed", 3]
    assert draw(file, *arguments, "--out", out) == 0
    images = [Image.open(f) for f in sorted(out.glob("*.png"))]
    expected = class_to_image(pipe, [1, 4], guidance=2.5, steps=2, seed=3)
    drawn = np.stack([np.asarray(p, np.float32) for p in images])
    assert drawn.shape == (2, 16, 16, 3)
    # within one of 256 levels
    assert np.abs(drawn / 127.5 - 1 - np.asarray(expected)).max() < 1.01 / 127.5
    recipe = {"model": "model.safetensors", "label": ["1", "4"], "guidance": 2.5}
    recipe |= {"num": 2, "steps": 2, "seed": 3}
    assert json.loads(images[0].text["diffax"]) == recipe


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--label", "5"], "in 0 to 4"),
        (["--label", "fox"], "labels must be whole numbers from 0 to 4"),
        (["--label", "1", "--prompt", "a fox"], "--prompt needs a model that reads texts"),
        (["--label", "1", "--guidance", "-1"], "guidance must be finite and at least 0"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    pipe, monkeypatch, capsys, tmp_path, arguments, message
):
    # Read once for all cases; test_sample_py reads the file.
    monkeypatch.setattr(diffax.pretrained, "load_pipeline", lambda *_, **__: pipe)
    assert draw("model.safetensors", *arguments, "--out", tmp_path / "out.png") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


# ---------------------------------------------------------------- the reference library


@pytest.mark.parity
def test_pickled_checkpoint(parts, file):
    """The published format: a `.ckpt` written by torch, with what training left in it."""
    torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    tensors = safetensors.numpy.load_file(file)
    state = {key: torch.from_numpy(value.copy()) for key, value in tensors.items()}
    torch.save({"state_dict": state, "global_step": 5}, file.with_name("model.ckpt"))
    again = load_components(file.with_name("model.ckpt"))
    same(again.unet, parts.unet)
    same(again.vae, parts.vae)
    same(again.class_embedder, parts.class_embedder)


@pytest.mark.parity
def test_reference_unet_on_the_same_context(pipe, parts):
    """diffusers' U-Net with the weights of the original file, through its own converter."""
    torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    diffusers = pytest.importorskip(
        "diffusers", reason="the parity extra (diffusers) is not installed"
    )
    from diffusers.loaders import single_file_utils as reference

    config = json.loads(json.dumps({k: v for k, v in TINY["unet"].items() if k[0] != "_"}))
    theirs = diffusers.UNet2DConditionModel(**config).eval()
    state = {k: torch.from_numpy(v.copy()) for k, v in original_tensors(parts).items()}
    theirs.load_state_dict(
        reference.convert_ldm_unet_checkpoint(state, {**config, "class_embed_type": None})
    )
    x, t = tiny.draws("x", 2, 8, 8, 3), np.array([1.0, 981.0], np.float32)
    context = np.array(pipe.conditioner.embedder(jnp.array([3, 5])))
    call = jax.jit(lambda x, t, context: pipe.network(x, t, {"context": context}))
    with torch.no_grad():
        expected = theirs(
            torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
            torch.from_numpy(t),
            torch.from_numpy(context),
        ).sample.numpy()
    ours = call(x, t, context)
    error = np.abs(ours - expected.transpose(0, 2, 3, 1)).max() / np.abs(expected).max()
    assert error < 1e-5
