"""Live exchange with diffusers and transformers: their files here, our files there."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines

torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
diffusers = pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")
pytest.importorskip("transformers", reason="the parity extra (transformers) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "golden/pretrained"))

import make_components  # noqa: E402
import make_key_lists  # noqa: E402
import make_pipelines  # noqa: E402

from diffax.generation import text_to_image, unconditional  # noqa: E402
from diffax.pretrained import (  # noqa: E402
    families,
    filling,
    load_components,
    load_network,
    load_pipeline,
    naming,
    original,
    save_network,
    save_pipeline,
)
from diffax.pretrained.configs import module_from_config, parameter_shapes  # noqa: E402

pytestmark = pytest.mark.parity


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", list(tiny.CONFIGS))
def test_their_folder_here_and_back(name, tmp_path):
    """save_pretrained -> load -> save -> from_pretrained: identical tensors."""
    theirs = make_components.build(name)
    theirs.save_pretrained(tmp_path / "theirs", safe_serialization=True)
    ours = load_network(tmp_path / "theirs")
    same(ours.params, tiny_pipelines.network(tiny.CONFIGS[name]).params)
    save_network(ours, tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours")
    for (key, a), (other, b) in zip(
        sorted(theirs.state_dict().items()), sorted(again.state_dict().items()), strict=True
    ):
        assert key == other
        assert torch.equal(a, b), key


def test_their_shards_and_half_precision_here(tmp_path):
    theirs = make_components.build("unet_sd1").half()
    theirs.save_pretrained(tmp_path, variant="fp16", max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = load_network(tmp_path)
    exact = tiny_pipelines.network(tiny.CONFIGS["unet_sd1"])
    same(
        ours.params,
        jax.tree.map(lambda x: np.asarray(x).astype(np.float16).astype(np.float32), exact.params),
    )


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_whole_pipelines_both_ways(family, tmp_path):
    xl = family == "sdxl"
    cls = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    theirs = make_pipelines.pipeline(cls, family, "DDIMScheduler")
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_pipeline(tmp_path / "theirs")
    save_pipeline(ours, tmp_path / "ours")
    again = cls.from_pretrained(tmp_path / "ours")
    again.set_progress_bar_config(disable=True)
    options = dict(height=32, width=24)
    with torch.no_grad():
        a, b = (
            pipe(
                **make_pipelines.COMMON,
                **options,
                num_inference_steps=3,
                latents=make_pipelines.nchw(tiny.noise()),
                output_type="latent",
            ).images
            for pipe in (theirs, again)
        )
    assert torch.equal(a, b)
    out = text_to_image(
        ours, tiny.PROMPTS, negative=tiny.NEGATIVE, guidance=tiny.GUIDANCE, steps=3,
        noise=tiny.noise(), decode=False, **options,
    )  # fmt: skip
    expected = np.moveaxis(a.numpy(), 1, -1)
    assert np.abs(out - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["DDIMPipeline", "LDMPipeline"])
def test_images_without_a_text(kind, tmp_path):
    """google/ddpm-* and unconditional latent diffusion: their folder, the same images."""
    latent = kind == "LDMPipeline"
    channels = {"in_channels": 3, "out_channels": 3}
    unet = make_pipelines.network({**tiny.CONFIGS["ddpm"], **channels})
    scheduler = diffusers.DDIMScheduler(clip_sample=not latent, beta_end=0.012)
    parts = {"unet": unet, "scheduler": scheduler}
    if latent:
        parts["vqvae"] = make_pipelines.network(tiny.CONFIGS["vq"])
    theirs = getattr(diffusers, kind)(**parts)
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path)
    noise = tiny.draws("pixels", 2, 16, 16, 3)
    module = sys.modules[type(theirs).__module__]
    saved, module.randn_tensor = module.randn_tensor, lambda *_, **__: make_pipelines.nchw(noise)
    try:
        expected = theirs(batch_size=2, num_inference_steps=4, eta=0.0, output_type="np").images
    finally:
        module.randn_tensor = saved
    ours = unconditional(load_pipeline(tmp_path), num=2, steps=4, noise=noise)
    assert np.abs((ours + 1) / 2 - expected).max() < 1e-4


def test_pickled_pipeline(tmp_path):
    """A `.ckpt` written by torch, in the original layout, with its training leftovers."""
    pipe = tiny_pipelines.components("sd")
    from test_loading import original_tensors

    from diffax.pretrained.tokenizer import save_tokenizer

    state = {k: torch.from_numpy(np.array(v)) for k, v in original_tensors(pipe).items()}
    torch.save({"state_dict": state, "global_step": 5}, tmp_path / "model.ckpt")
    save_tokenizer(tmp_path / "tokenizer", pipe.tokenizers[0])
    ours = load_components(
        tmp_path / "model.ckpt", configs=tiny.PIPELINES["sd"], tokenizer=tmp_path / "tokenizer"
    )
    same((ours.unet, ours.vae, ours.text_encoders), (pipe.unet, pipe.vae, pipe.text_encoders))


@pytest.mark.parametrize(
    "family, component",
    [
        (f, c)
        for f, parts in families.FAMILIES.items()
        for c in parts
        if c not in ("scheduler", "class_embedder")
    ],
)
def test_full_size_names_and_shapes(family, component):
    """Against the reference's model on the meta device, rather than the stored list."""
    config = families.FAMILIES[family][component]
    theirs = {k: tuple(v.shape) for k, v in make_key_lists.meta_model(config).state_dict().items()}
    shapes = filling.leaves(parameter_shapes(module_from_config(config)))
    ours = {k: naming.published_shape(leaf, tuple(v.shape)) for k, (leaf, v) in shapes.items()}
    assert {naming.find(k, theirs): s for k, s in ours.items()} == theirs


def test_original_names_as_the_reference_reads_them():
    """The reference's own converter turns our original names back into the published ones."""
    from diffusers.loaders import single_file_utils as reference

    for family in ("sd1", "sd2", "sdxl", "sdxl-refiner", "cin256-v2"):
        config = families.FAMILIES[family]["unet"]
        module = module_from_config(config)
        locate = original.unet_locator(module)
        keys = list(filling.leaves(parameter_shapes(module)))
        prefix = "model.diffusion_model."
        checkpoint = {prefix + locate(k).key: torch.tensor(i) for i, k in enumerate(keys)}
        config = json.loads(json.dumps(config)) | {"class_embed_type": None}
        converted = reference.convert_ldm_unet_checkpoint(checkpoint, config)
        assert {k: int(v) for k, v in converted.items()} == {k: i for i, k in enumerate(keys)}


def test_original_names_of_a_control_as_the_reference_reads_them():
    from diffusers.loaders import single_file_utils as reference

    for width in (768, 1024, 2048):
        name = families._BY_CONTEXT[width]
        unet = families.FAMILIES[name]["unet"]
        config = {k: v for k, v in unet.items() if k not in ("up_block_types", "sample_size")}
        module = module_from_config(config | {"_class_name": "ControlNetModel"})
        locate = original.control_locator(module)
        keys = list(filling.leaves(parameter_shapes(module)))
        checkpoint = {"control_model." + locate(k).key: torch.tensor(i) for i, k in enumerate(keys)}
        converted = reference.convert_controlnet_checkpoint(checkpoint, config)
        # The reference leaves out the sizes that XL is told.
        known = {k: i for i, k in enumerate(keys) if not k.startswith("add_embedding.")}
        assert {k: int(v) for k, v in converted.items() if k in known} == known


def drawn_by(pipe, **options):
    """Latents of the reference's text-to-image from the shared noise, NHWC."""
    pipe.set_progress_bar_config(disable=True)
    options = {**make_pipelines.COMMON, "height": 32, "width": 24} | options
    noise = make_pipelines.nchw(tiny.noise())
    with torch.no_grad():
        out = pipe(**options, num_inference_steps=3, latents=noise, output_type="latent")
    return make_pipelines.latents(out)


OURS = dict(negative=tiny.NEGATIVE, guidance=tiny.GUIDANCE, steps=3, noise=tiny.noise())
OURS |= dict(decode=False, height=32, width=24, sampler="ddim")


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_clip_skip(family):
    """Fewer layers for the prompt; the negative prompt is always read with all of them."""
    xl = family == "sdxl"
    cls = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    theirs = make_pipelines.pipeline(cls, family, "DDIMScheduler")
    if not xl and not hasattr(theirs.text_encoder, "text_model"):
        # Newer text encoders have no such part; the reference's pipeline still asks for it.
        type(theirs.text_encoder).text_model = property(lambda self: self)
    expected = drawn_by(theirs, clip_skip=1)
    ours = text_to_image(tiny_pipelines.pipeline(family), tiny.PROMPTS, clip_skip=1, **OURS)
    assert np.abs(ours - expected).max() < 5e-5 * np.abs(expected).max()


def test_guidance_embedding(monkeypatch):
    """Distilled models are told the scale: one call a step, no negative prompt."""
    family = {**tiny.PIPELINES["sd"], "unet": {**tiny.CONFIGS["unet_sd1"]}}
    family["unet"]["time_cond_proj_dim"] = 16
    monkeypatch.setitem(tiny.PIPELINES, "distilled", family)
    cls = diffusers.StableDiffusionPipeline
    expected = drawn_by(make_pipelines.pipeline(cls, "distilled", "DDIMScheduler"))
    model = tiny_pipelines.pipeline("distilled")
    ours = text_to_image(model, tiny.PROMPTS, **OURS)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()
    other = text_to_image(model, tiny.PROMPTS, **OURS | {"guidance": 1.5})
    assert np.abs(ours - other).max() > 1e-3


# What is written otherwise than it was read, each with its reason.
RENEWED = {
    "tokenizer.json": "the library's own form of the vocabulary, padding left to its settings",
}

CLASSES = {
    "sd": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
}


@pytest.mark.parametrize("family", list(CLASSES))
def test_every_file_comes_back_as_it_was(family, tmp_path):
    """Their folder, loaded and saved: JSON field by field, tensors one by one."""
    cls = getattr(diffusers, CLASSES[family])
    theirs = make_pipelines.pipeline(cls, family, "PNDMScheduler")
    theirs.save_pretrained(tmp_path / "theirs")
    save_pipeline(load_pipeline(tmp_path / "theirs"), tmp_path / "ours")
    for file in sorted((tmp_path / "theirs").rglob("*.json")):
        name = file.relative_to(tmp_path / "theirs")
        if name.name not in RENEWED:
            ours = json.loads((tmp_path / "ours" / name).read_text())
            assert ours == json.loads(file.read_text()), name
    for file in sorted((tmp_path / "theirs").rglob("*.safetensors")):
        name = file.relative_to(tmp_path / "theirs")
        a, b = (tensors_of(tmp_path / side / name) for side in ("theirs", "ours"))
        assert a.keys() == b.keys(), name
        for key in a:
            assert a[key].dtype == b[key].dtype
            np.testing.assert_array_equal(a[key], b[key])
    again = cls.from_pretrained(tmp_path / "ours")
    assert set(again.components) == set(theirs.components)


def tensors_of(file):
    """Under the names of the published files, which newer writers shorten."""
    prefix = "text_model." if "text_encoder" in str(file) else ""
    content = safetensors.numpy.load_file(file)
    return {
        key if key.startswith((prefix, "text_projection")) else prefix + key: value
        for key, value in content.items()
    }
