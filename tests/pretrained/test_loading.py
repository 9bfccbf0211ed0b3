"""Whole pipelines to and from disk: folder, single file, `.ckpt`; clear errors."""

import dataclasses
import gzip
import json
import pickle
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines

from diffax.generation import Sampling
from diffax.pretrained import (
    filling,
    load_components,
    load_network,
    load_pipeline,
    model_of,
    naming,
    original,
    save_network,
    save_pipeline,
)
from diffax.pretrained.tokenizer import save_tokenizer


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def pipes():
    return {name: tiny_pipelines.components(name) for name in ("sd", "sdxl")}


@pytest.fixture
def sd_folder(pipes, tmp_path):
    pipes["sd"].save(tmp_path / "sd")
    return tmp_path / "sd"


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_folder_round_trip(pipes, name, tmp_path):
    pipe = pipes[name]
    pipe.save(tmp_path / name)
    again = load_components(tmp_path / name)
    assert again.unet.module == pipe.unet.module and again.vae.module == pipe.vae.module
    same((again.unet, again.vae, again.text_encoders), (pipe.unet, pipe.vae, pipe.text_encoders))
    assert again.scheduler == pipe.scheduler and again.settings == pipe.settings
    for a, b in zip(again.tokenizers, pipe.tokenizers, strict=True):
        np.testing.assert_array_equal(a(tiny.PROMPTS), b(tiny.PROMPTS))


# By default one model with one text encoder and one with two.
@pytest.mark.parametrize(
    "name",
    [
        name if name == "sd" else pytest.param(name, marks=pytest.mark.slow)
        for name in tiny.PIPELINES
    ],
)
def test_files_come_back_as_they_were(name, tmp_path):
    """Load, save, load: also the fields that nothing here needs, of every JSON file."""
    tiny_pipelines.components(name).save(tmp_path / "first")
    for file in (tmp_path / "first").rglob("*.json"):
        content = json.loads(file.read_text())
        if file.name == "config.json":
            known = "_class_name" in content  # a text encoder's file says much more
            content |= {"act_fn": "silu", "_name_or_path": "x"} if known else {"initializer": 0.1}
            content.pop("dropout", None)
        elif file.name in ("tokenizer_config.json", "scheduler_config.json", "model_index.json"):
            content |= {"_name_or_path": "x"}
        file.write_text(json.dumps(content))
    model = load_pipeline(tmp_path / "first")
    save_pipeline(model, tmp_path / "second")
    files = sorted(f.relative_to(tmp_path / "first") for f in (tmp_path / "first").rglob("*"))
    assert files == sorted(f.relative_to(tmp_path / "second") for f in tmp_path.glob("second/**/*"))
    for file in files:
        if file.suffix == ".json":
            first, second = (json.loads((tmp_path / s / file).read_text()) for s in PLACES)
            assert first == second, file
        elif file.suffix == ".safetensors":
            assert (tmp_path / "first" / file).read_bytes() == (
                tmp_path / "second" / file
            ).read_bytes(), file
    again = load_pipeline(tmp_path / "second")
    same((again.network, again.codec), (model.network, model.codec))
    assert again.settings == model.settings and again.shape == model.shape


PLACES = ("first", "second")


@pytest.mark.slow
def test_a_changed_network_is_written_as_it_is(pipes, tmp_path):
    pipes["sd"].save(tmp_path / "first")
    model = load_pipeline(tmp_path / "first")
    longer = model.network.module.clone(sample_size=32)
    network = dataclasses.replace(model.network, module=longer)
    save_pipeline(dataclasses.replace(model, network=network), tmp_path / "second")
    assert load_pipeline(tmp_path / "second").shape == (32, 32, 4)


def test_what_has_no_published_layout(pipes, tmp_path):
    model = dataclasses.replace(model_of(pipes["sd"]), settings=Sampling())
    with pytest.raises(ValueError, match="have a published layout"):
        save_pipeline(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_readers_of_the_layout_ask_for_its_version(sd_folder):
    index = json.loads((sd_folder / "model_index.json").read_text())
    unet = json.loads((sd_folder / "unet" / "config.json").read_text())
    assert index["_diffusers_version"] and unet["_diffusers_version"]


def original_tensors(pipe):
    """The pipeline's tensors under the original single file's names."""
    from diffax.pretrained.single_file import AutoencoderKL

    tensors = {}
    parts = [("unet", pipe.unet), ("vae", pipe.vae)]
    names = ("text_encoder", "text_encoder_2")
    parts += list(zip(names, pipe.text_encoders, strict=False))
    prefixes = {part: options[0] for part, options in original.PREFIXES.items()}
    if pipe.xl:
        prefixes["text_encoder"] = "conditioner.embedders.0.transformer."
    for part, network in parts:
        module = network.module
        locator = {"unet": original.unet_locator, "text_encoder_2": original.openclip_locator}.get(
            part,
            original.autoencoder_locator
            if isinstance(module, AutoencoderKL)
            else original.clip_locator,
        )(module)
        pieces = {}
        for key, (leaf, value) in filling.leaves(network.params).items():
            source = locator(key)
            array = naming.to_published(leaf, np.asarray(value))
            array = array.T if source.transposed else array
            pieces.setdefault(prefixes[part] + source.key, {})[source.part] = array
        for key, found in pieces.items():
            whole = [found[p] for p in sorted(found, key=lambda p: p or (0, 0))]
            tensors[key] = np.ascontiguousarray(
                np.concatenate(whole) if len(whole) > 1 else whole[0]
            )
    return tensors


@pytest.fixture
def tokenizer_folder(pipes, tmp_path):
    save_tokenizer(tmp_path / "tokenizer", pipes["sd"].tokenizers[0])
    return tmp_path / "tokenizer"


@pytest.mark.parametrize("name", ["sd", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_single_file(pipes, name, tmp_path, tokenizer_folder):
    pipe, configs = pipes[name], tiny.PIPELINES[name]
    tensors = original_tensors(pipe)
    tensors |= {
        "betas": np.zeros(3, np.float32),
        "model_ema.decay": np.zeros((), np.float32),
        "first_stage_model.loss.logvar": np.zeros((), np.float32),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    again = load_components(
        tmp_path / "model.safetensors", configs=configs, tokenizer=tokenizer_folder
    )
    same((again.unet, again.vae, again.text_encoders), (pipe.unet, pipe.vae, pipe.text_encoders))

    tensors["control_model.extra"] = np.zeros(1, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"belong to no component: \['control_model.extra'\]"):
        load_pipeline(tmp_path / "model.safetensors", configs=configs, tokenizer=tokenizer_folder)


def test_moving_averages(pipes, tmp_path, tokenizer_folder):
    tensors = original_tensors(pipes["sd"])
    prefix = "model.diffusion_model."
    for key in [k for k in tensors if k.startswith(prefix)]:
        tensors[original.ema_key(key.removeprefix(prefix))] = tensors[key] + 1
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    options = dict(configs=tiny.PIPELINES["sd"], tokenizer=tokenizer_folder)
    averaged = load_components(tmp_path / "model.safetensors", ema=True, **options)
    plain = load_components(tmp_path / "model.safetensors", **options)
    same(averaged.unet.params, jax.tree.map(lambda x: np.asarray(x) + 1, plain.unet.params))


def test_single_file_errors(pipes, tmp_path, tokenizer_folder):
    file = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(1, np.float32)}, file)
    with pytest.raises(ValueError, match="a single file has no tokenizer"):
        load_pipeline(file)
    with pytest.raises(ValueError, match="no Stable Diffusion U-Net in this file"):
        load_pipeline(file, tokenizer=tokenizer_folder)
    unet = "model.diffusion_model.input_blocks."
    tensors = {
        unet + "0.0.weight": np.zeros((320, 5, 3, 3), np.float32),
        unet + "4.1.transformer_blocks.0.attn2.to_k.weight": np.zeros((640, 1024), np.float32),
    }
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(ValueError, match="a U-Net with 5 input channels is not supported"):
        load_pipeline(file, tokenizer=tokenizer_folder)
    evil = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(evil, "w") as out:
        out.writestr("archive/data.pkl", pickle.dumps({"x": gzip.open}))
    with pytest.raises(ValueError, match="refused to unpickle"):
        load_pipeline(evil, tokenizer=tokenizer_folder)
    with pytest.raises(FileNotFoundError, match="expected a folder with model_index.json"):
        load_pipeline(tmp_path / "nowhere")
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a .safetensors or .ckpt file"):
        load_pipeline(tmp_path / "model.gguf", tokenizer=tokenizer_folder)


def rewrite(file, **changes):
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(content))


def test_folder_errors(sd_folder):
    with pytest.raises(ValueError, match="one network, not a pipeline"):
        load_pipeline(sd_folder / "unet")
    index = sd_folder / "model_index.json"
    rewrite(index, controlnet=["diffusers", "ControlNetModel"])
    with pytest.raises(ValueError, match=r"\['controlnet'\] are not supported"):
        load_pipeline(sd_folder)
    rewrite(index, controlnet=[None, None], _class_name="FluxPipeline")
    with pytest.raises(ValueError, match="pipeline 'FluxPipeline' is not supported"):
        load_pipeline(sd_folder)
    rewrite(index, _class_name="StableDiffusionPipeline")
    (sd_folder / "vae" / "config.json").rename(sd_folder / "vae" / "kept.json")
    with pytest.raises(FileNotFoundError, match="vae/config.json: no such file"):
        load_pipeline(sd_folder)
    (sd_folder / "vae" / "kept.json").rename(sd_folder / "vae" / "config.json")
    (sd_folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="scheduler_config.json: no such file"):
        load_pipeline(sd_folder)


def test_parts_of_different_models(pipes, tmp_path):
    other = dataclasses.replace(pipes["sd"], unet=pipes["sdxl"].unet)
    other.save(tmp_path / "mixed")
    with pytest.raises(ValueError, match="wants a text of width 64, the text encoders give 32"):
        load_pipeline(tmp_path / "mixed")


def test_saving_overwrites_nothing(pipes, sd_folder):
    with pytest.raises(FileExistsError, match="holds a model already"):
        pipes["sd"].save(sd_folder)


def test_old_snapshot_of_one_network(tmp_path):
    # google/ddpm-*: the network and the scheduler's settings lie beside model_index.json
    save_network(tiny_pipelines.network(tiny.CONFIGS["ddpm"]), tmp_path)
    (tmp_path / "scheduler_config.json").write_text('{"_class_name": "DDPMScheduler"}')
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    model = load_pipeline(tmp_path)
    same(model.network, load_network(tmp_path))
    assert model.factor == 1 and model.shape == (16, 16, 3)
