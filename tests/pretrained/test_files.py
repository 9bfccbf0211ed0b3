"""Networks to and from disk: the diffusers layout, variants, shards, dtypes; clear errors."""

import json
import struct

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tiny_models
import tiny_pipelines

from diffax.pretrained import load_network, save_network
from diffax.pretrained.configs import config_from_module, module_from_config
from diffax.pretrained.weights import SafetensorsFiles

# The smallest network with every kind of parameter: maps, norms, embeddings.
TEXT = {**tiny_models.CONFIGS["clip_h"], "num_hidden_layers": 1, "vocab_size": 20}


@pytest.fixture(scope="module")
def text():
    return tiny_pipelines.network(TEXT)


@pytest.fixture
def folder(text, tmp_path):
    save_network(text, tmp_path / "text")
    return tmp_path / "text"


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def tensors_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["clip_l", "vae", "vq", "ddpm"])
def test_round_trip(name, tmp_path):
    network = tiny_pipelines.network(tiny_models.CONFIGS[name])
    save_network(network, tmp_path / name)
    again = load_network(tmp_path / name)
    assert again.module == network.module
    same(again.params, network.params)


def test_layout_of_the_file(text, folder):
    tensors = tensors_of(folder)
    params = text.params["params"]
    layer = params["text_model"]["encoder"]["layers_0"]
    np.testing.assert_array_equal(
        tensors["text_model.encoder.layers.0.mlp.fc1.weight"], layer["mlp"]["fc1"]["kernel"].T
    )
    np.testing.assert_array_equal(
        tensors["text_model.final_layer_norm.weight"],
        params["text_model"]["final_layer_norm"]["scale"],
    )
    # The file is a plain safetensors file to the library that defines the format.
    with safetensors.safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "CLIPTextModelWithProjection"
    ]
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_variants(text, tmp_path, dtype):
    save_network(text, tmp_path, dtype=dtype, variant="fp16")
    half = load_network(tmp_path, param_dtype=dtype)
    same(half.params, jax.tree.map(lambda x: x.astype(dtype), text.params))
    wide = load_network(tmp_path, variant="fp16")
    same(wide.params, jax.tree.map(lambda x: x.astype(dtype).astype(jnp.float32), text.params))


def test_shards(text, folder):
    tensors = tensors_of(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for shard, inside in shards.items():
        safetensors.numpy.save_file({n: tensors[n] for n in inside}, folder / shard)
    index = {"weight_map": {n: shard for shard, inside in shards.items() for n in inside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    same(load_network(folder).params, text.params)

    (folder / "model-2-of-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"of 2 shards .* missing: \['model-2-of-2"):
        load_network(folder)
    index["weight_map"]["x"] = "../outside.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="shards must lie beside the index"):
        load_network(folder)


@pytest.mark.parametrize(
    "name, dtype", [("F8_E4M3", ml_dtypes.float8_e4m3fn), ("F8_E5M2", ml_dtypes.float8_e5m2)]
)
def test_float8_is_read_as_the_parameters_are_wanted(text, folder, name, dtype):
    """As the format says: a JSON header with offsets, then the bytes."""
    small = {key: value.astype(dtype) for key, value in tensors_of(folder).items()}
    header, data = {}, b""
    for key, value in small.items():
        place = [len(data), len(data) + value.nbytes]
        header[key] = {"dtype": name, "shape": list(value.shape), "data_offsets": place}
        data += value.tobytes()
    text_of = json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text_of)) + text_of + data)
    same(
        load_network(folder).params,
        jax.tree.map(lambda x: np.asarray(x).astype(dtype).astype(np.float32), text.params),
    )


def test_names_of_other_writers(text, folder):
    tensors = tensors_of(folder)
    renamed = {n.removeprefix("text_model."): t for n, t in tensors.items()}
    renamed["embeddings.position_ids"] = np.arange(77)[None]
    safetensors.numpy.save_file(renamed, folder / "model.safetensors")
    same(load_network(folder).params, text.params)


def test_old_attention_of_autoencoders(tmp_path):
    network = tiny_pipelines.network(tiny_models.CONFIGS["vae"])
    save_network(network, tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in safetensors.numpy.load_file(file).items():
        for new, former in old.items():
            if f".{new}." in name:
                name = name.replace(new, former)
                # as 1x1 convolutions, the first autoencoders' way
                tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        renamed[name] = tensor
    safetensors.numpy.save_file(renamed, file)
    same(load_network(tmp_path).params, network.params)


def test_all_problems_are_listed_at_once(folder):
    tensors = tensors_of(folder)
    del tensors["text_projection.weight"]
    tensors["text_model.final_layer_norm.bias"] = np.zeros(3, np.float32)
    tensors["surprise"] = np.zeros(1, np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        load_network(folder)
    for part in (
        "1 missing: text_projection.weight",
        r"1 mis-shaped: text_model.final_layer_norm.bias (expected (32,), got (3,))",
        "1 unexpected: surprise",
        str(folder),
    ):
        assert part in str(error.value)


def test_damaged_files(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-5], whole[:100], b"", b"\xff" * 8 + whole[8:], b"not this format"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            load_network(folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="expected model.safetensors"):
        load_network(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="convert the pickled .bin"):
        load_network(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_network(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="config.json: no such file"):
        load_network(folder)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_network(folder / "nowhere")


def test_nothing_is_overwritten(text, folder):
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="save to another folder"):
        save_network(text, folder)
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", list(tiny_models.CONFIGS))
def test_config_round_trip(name):
    module = module_from_config(tiny_models.CONFIGS[name])
    again = json.loads(json.dumps(config_from_module(module)))
    assert module_from_config(again) == module


@pytest.mark.parametrize(
    "change, said",
    [
        ({"_class_name": "FluxTransformer2DModel"}, "'FluxTransformer2DModel' is not supported"),
        ({"addition_embed_type": "image_hint"}, r"addition_embed_type = 'image_hint' \(supported"),
        ({"down_block_types": ["KDownBlock2D"] * 2}, "down_block_types = 'KDownBlock2D'"),
        ({"brand_new_setting": 3}, r"brand_new_setting = 3 \(unknown\)"),
    ],
)
def test_unsupported_networks(change, said):
    with pytest.raises(ValueError, match=said):
        module_from_config({**tiny_models.CONFIGS["unet_sd1"], **change})


def test_one_tensor_is_in_memory_at_a_time(text, folder, monkeypatch):
    read = []
    original = SafetensorsFiles.__getitem__
    monkeypatch.setattr(
        SafetensorsFiles, "__getitem__", lambda self, n: read.append(n) or original(self, n)
    )
    load_network(folder)
    assert sorted(read) == sorted(tensors_of(folder))  # each once, and only when filled
