"""LoRA files in and out, on the tiny Stable Diffusion, against what diffusers makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.adapters import LowRank
from diffax.adapters.paths import flat
from diffax.generation import text_to_image
from diffax.models import BoundModule
from diffax.pretrained import (
    families,
    load_lora,
    lora_names,
    naming,
    parts_of,
    save_lora,
    trained_lora,
    with_loras,
)
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.lora import METADATA


@pytest.fixture(scope="module")
def model():
    return tiny_pipelines.pipeline("sd")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    for layout in ("peft", "kohya"):
        safetensors.numpy.save_file(
            {k: np.asarray(v) for k, v in tiny.lora(layout).items()},
            folder / f"{layout}.safetensors",
        )
    return folder


def loaded(files, layout, model):
    return load_lora(files / f"{layout}.safetensors", model)


def test_images_are_the_references_and_scales_do_not_compile(model, files, caplog):
    loras = {layout: loaded(files, layout, model) for layout in ("peft", "kohya")}
    for name, scales in tiny.LORA_CASES.items():
        with jax.log_compiles():
            corrected = with_loras(model, *((loras[layout], s) for layout, s in scales.items()))
            close(text_to_image(corrected, tiny.PROMPTS, **ASKED), name)
    assert "Compiling" in caplog.text
    caplog.clear()
    with jax.log_compiles():
        scales = {"peft": -0.3, "kohya": 1.7}
        corrected = with_loras(model, *((loras[layout], s) for layout, s in scales.items()))
        text_to_image(corrected, tiny.PROMPTS, **ASKED)
    assert "Compiling" not in caplog.text


def test_every_layer_has_its_own_alpha(model, tmp_path):
    tensors = {k: np.asarray(v) for k, v in tiny.lora("kohya").items()}
    alphas = [key for key in tensors if key.endswith(".alpha")]
    tensors |= {key: np.asarray(i + 1, np.float32) for i, key in enumerate(alphas)}
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    lora = load_lora(tmp_path / "a.safetensors", model)
    corrected = flat(parts_of(with_loras(model, (lora, 0.5)))["unet"].params)
    before = flat(parts_of(model)["unet"].params)
    for i, (name, (rows, *_)) in enumerate(tiny.LORA["unet"].items()):
        key = "lora_unet_" + name.replace(".", "_")
        down, up = (tensors[f"{key}.lora_{way}.weight"] for way in ("down", "up"))
        delta = 0.5 * (i + 1) / 3 * up.reshape(rows, 3) @ down.reshape(3, -1)
        (path,) = (
            path
            for path in before
            if naming.published_key(tuple(path.split("/")[1:])) == f"{name}.weight"
        )
        ours = naming.to_published("kernel", np.asarray(corrected[path] - before[path]))
        np.testing.assert_allclose(ours.reshape(rows, -1), delta, atol=1e-6)


def test_what_is_not_corrected_is_shared(model, files):
    corrected = parts_of(with_loras(model, (loaded(files, "peft", model), 0.5)))
    before = parts_of(model)
    names = lambda parts: {
        (part, jax.tree_util.keystr(path)): leaf
        for part, network in parts.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(network.params)
    }
    old, new = names(before), names(corrected)
    changed = {key for key in old if old[key] is not new[key]}
    assert len(changed) == sum(len(layers) for layers in tiny.LORA.values())
    none = parts_of(with_loras(model, (loaded(files, "peft", model), 0.0)))
    jax.tree.map(np.testing.assert_array_equal, none["unet"].params, before["unet"].params)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_written_files_are_read_again(model, files, tmp_path, layout):
    lora = loaded(files, "kohya", model)
    file = tmp_path / "lora.safetensors"
    save_lora(lora, file, layout=layout)
    again = load_lora(file, model)
    assert again.parts.keys() == lora.parts.keys()
    for part, factors in lora.parts.items():
        for name, own in factors.items():
            other = again.parts[part][name]
            np.testing.assert_array_equal(other.down, own.down)
            np.testing.assert_array_equal(other.up, own.up)
            assert other.alpha == own.alpha
    if layout == "kohya":
        ours, theirs = (safetensors.numpy.load_file(f) for f in (file, files / "kohya.safetensors"))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    with pytest.raises(FileExistsError):
        save_lora(lora, file)


def test_what_training_learned_becomes_a_file(model, tmp_path):
    parts = parts_of(model)
    params = {
        "network": parts["unet"].params,
        "conditioner": {"text_encoder": parts["text_encoder"].params},
    }
    adapter = LowRank(rank=2, alpha=4.0, pattern=r"(to_q|fc1|conv1)/kernel$")
    shapes = jax.eval_shape(lambda key: adapter.init(key, params)[0], jax.random.key(0))
    draws = np.random.RandomState(0)
    trainable = jax.tree.map(lambda s: jnp.asarray(draws.standard_normal(s.shape), s.dtype), shapes)
    save_lora(trained_lora(trainable, adapter, model), tmp_path / "new.safetensors")
    read = with_loras(model, (load_lora(tmp_path / "new.safetensors", model), 1.0))
    merged = adapter.merge(trainable, params)
    for ours, theirs in (
        (parts_of(read)["unet"].params, merged["network"]),
        (parts_of(read)["text_encoder"].params, merged["conditioner"]["text_encoder"]),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)
    # The alpha is not the rank: PEFT finds it in the metadata.
    with safetensors.safe_open(tmp_path / "new.safetensors", "numpy") as file:
        assert '"unet.lora_alpha": 4.0' in file.metadata()[METADATA]


_ATTENTION = f"{tiny._INSIDE}.attn1"

# How others call the two factors of one attention's query.
SPELLINGS = [
    (f"unet.{_ATTENTION}.processor.to_q_lora.down", f"unet.{_ATTENTION}.processor.to_q_lora.up"),
    (f"{_ATTENTION}.processor.to_q_lora.down", f"{_ATTENTION}.processor.to_q_lora.up"),
    (f"{_ATTENTION}.to_q.lora.down", f"{_ATTENTION}.to_q.lora.up"),
    (
        f"base_model.model.{_ATTENTION}.to_q.lora_A.x",
        f"base_model.model.{_ATTENTION}.to_q.lora_B.x",
    ),
    tuple(
        f"lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_{way}"
        for way in ("down", "up")
    ),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_writers_names(model, tmp_path, spelling):
    tensors = {
        f"{spelling[0]}.weight": tiny.draws("down", 2, 32),
        f"{spelling[1]}.weight": tiny.draws("up", 32, 2),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    lora = load_lora(tmp_path / "a.safetensors", model)
    ((path, factors),) = lora.parts["unet"].items()
    assert path == "down_blocks_0/attentions_0/transformer_blocks_0/attn1/to_q/kernel"
    np.testing.assert_array_equal(factors.down, tiny.draws("down", 2, 32).T)


REFUSED = {
    "another base": (
        {
            "unet.{}.attn2.to_k.lora_A.weight": (2, 1024),
            "unet.{}.attn2.to_k.lora_B.weight": (32, 2),
        },
        r"another base model \(Stable Diffusion 2\): 1 of its 1 layers",
    ),
    "strange": (
        {
            "unet.up_blocks.9.to_k.lora_A.weight": (2, 32),
            "unet.up_blocks.9.to_k.lora_B.weight": (32, 2),
        },
        "up_blocks.9.to_k is no layer",
    ),
    "half": ({"unet.{}.attn1.to_q.lora_A.weight": (2, 32)}, "has no up factor"),
    "oft": ({"lora_unet_mid_block.oft_blocks": (2, 2)}, "OFT .* is not supported"),
    "whole": ({"lora_unet_mid_block.diff": (2, 2)}, "full difference of weights .* is not"),
    "none": ({"model.weight": (2, 2)}, "model.weight is no tensor of a LoRA"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(model, tmp_path, name):
    shapes, words = REFUSED[name]
    content = {k.format(tiny._INSIDE): np.zeros(s, np.float32) for k, s in shapes.items()}
    safetensors.numpy.save_file(content, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=words):
        load_lora(tmp_path / "a.safetensors", model)
    with pytest.raises(FileNotFoundError):
        load_lora(tmp_path / "missing.safetensors", model)


# Names in XL's files of kohya's trainer, which knows the original U-Net only -> ours.
XL = {
    "lora_unet_input_blocks_0_0": "conv_in",
    "lora_unet_input_blocks_1_0_in_layers_2": "down_blocks_0/resnets_0/conv1",
    "lora_unet_input_blocks_1_0_emb_layers_1": "down_blocks_0/resnets_0/time_emb_proj",
    "lora_unet_input_blocks_3_0_op": "down_blocks_0/downsamplers_0/conv",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k": (
        "down_blocks_1/attentions_0/transformer_blocks_0/attn1/to_k"
    ),
    "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj": (
        "mid_block/attentions_0/transformer_blocks_9/ff/net_0/proj"
    ),
    "lora_unet_output_blocks_0_0_skip_connection": "up_blocks_0/resnets_0/conv_shortcut",
    "lora_unet_output_blocks_2_2_conv": "up_blocks_0/upsamplers_0/conv",
    "lora_unet_output_blocks_5_1_proj_in": "up_blocks_1/attentions_2/proj_in",
    "lora_unet_label_emb_0_0": "add_embedding/linear_1",
    "lora_unet_out_2": "conv_out",
    "lora_te1_text_model_encoder_layers_0_mlp_fc1": "text_model/encoder/layers_0/mlp/fc1",
    "lora_te2_text_model_encoder_layers_31_self_attn_out_proj": (
        "text_model/encoder/layers_31/self_attn/out_proj"
    ),
}


@pytest.mark.slow
def test_full_size_names_of_xl():
    parts = {}
    for part in ("unet", "text_encoder", "text_encoder_2"):
        module = module_from_config(families.FAMILIES["sdxl"][part])
        parts[part] = BoundModule(module, parameter_shapes(module))
    places = lora_names.places(parts)
    assert {name: places[name].path for name in XL} == {k: f"{v}/kernel" for k, v in XL.items()}
