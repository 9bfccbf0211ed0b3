"""ControlNets in the original single file."""

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
from tiny_pipelines import network

from diffax.models import ControlNetModel
from diffax.pretrained import load_network, original
from diffax.pretrained.configs import module_from_config
from diffax.pretrained.control_file import _config, load_control_file
from diffax.pretrained.filling import leaves
from diffax.pretrained.naming import to_published
from diffax.pretrained.weights import Tensors


@pytest.fixture(scope="module")
def control():
    return network(tiny.ADDONS["controlnet"])


@pytest.fixture(scope="module")
def named(control):
    """Its tensors by the original's names."""
    locate = original.control_locator(control.module)
    params = leaves(control.params).items()
    return {
        locate(key).key: np.ascontiguousarray(to_published(leaf, np.asarray(value)))
        for key, (leaf, value) in params
    }


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_a_file_is_what_the_folder_is(control, named, tmp_path, prefix):
    beside = {"model.diffusion_model.out.2.bias": np.zeros(4, np.float32)} if prefix else {}
    tensors = {prefix + name: value for name, value in named.items()} | beside
    safetensors.numpy.save_file(tensors, tmp_path / "control.safetensors")
    read = load_control_file(tmp_path / "control.safetensors", tiny.ADDONS["controlnet"])
    assert read.module == control.module
    jax.tree.map(np.testing.assert_array_equal, read.params, control.params)


def test_the_original_names(named):
    """Of lllyasviel/ControlNet's `cldm.py`; here with one level less, and one halving."""
    places = {"input_blocks.0.0", "input_blocks.1.1.transformer_blocks.0.attn2.to_k"}
    places |= {"time_embed.2", "middle_block_out.0", "zero_convs.0.0", "zero_convs.3.0"}
    places |= {f"input_hint_block.{i}" for i in (0, 2, 4, 6)}
    assert places <= {name.rpartition(".")[0] for name in named}
    assert {name.split(".")[0] for name in named} == {
        "input_blocks", "input_hint_block", "middle_block", "middle_block_out", "time_embed",
        "zero_convs",
    }  # fmt: skip


class Shapes(Tensors):
    """What a file's header says."""

    def __init__(self, width):
        self.shapes = {
            "input_hint_block.0.weight": (16, 3, 3, 3),
            "input_blocks.0.0.weight": (320, 4, 3, 3),
            "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, width),
        }
        super().__init__(self.shapes)

    def shape(self, name):
        return self.shapes[name]

    def __getitem__(self, name):
        raise AssertionError("the header is enough")


def test_the_family_is_known_by_its_texts():
    assert module_from_config(_config(Shapes(768))) == ControlNetModel(cross_attention_dim=768)
    with pytest.raises(ValueError, match="width 77 is of no known family"):
        _config(Shapes(77))


def test_what_is_no_control_is_said(tmp_path, named):
    file = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"unet.bias": np.zeros(1, np.float32)}, file)
    with pytest.raises(ValueError, match="no ControlNet of the original layout in it"):
        load_network(file)
    safetensors.numpy.save_file(named, file)
    with pytest.raises(ValueError, match="of no known family"):
        load_network(file)
