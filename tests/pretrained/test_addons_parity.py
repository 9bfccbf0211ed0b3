"""Live exchange of add-ons with diffusers and PEFT: their files here, our files there."""

import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines

torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
diffusers = pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")
pytest.importorskip("transformers", reason="the parity extra (transformers) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "golden/pretrained"))

import make_addons  # noqa: E402
import test_addons  # noqa: E402
from test_parity import same  # noqa: E402

from diffax.adapters.paths import flat  # noqa: E402
from diffax.pretrained import (  # noqa: E402
    load_lora,
    load_network,
    load_pipeline,
    parts_of,
    save_embedding,
    save_lora,
    save_network,
    save_pipeline,
    token_vectors,
    with_embedding,
    with_image_prompt,
    with_loras,
)
from diffax.pretrained.parts import text_of  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", list(tiny.ADDONS))
def test_networks_both_ways(name, tmp_path):
    """save_pretrained -> load -> save -> from_pretrained: identical tensors."""
    theirs = make_addons.make_pipelines.network(tiny.ADDONS[name])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_network(tmp_path / "theirs")
    same(ours.params, tiny_pipelines.network(tiny.ADDONS[name]).params)
    save_network(ours, tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours").state_dict()
    assert again.keys() == theirs.state_dict().keys()
    assert all(torch.equal(again[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("name", list(make_addons.CASES))
def test_the_stored_images_are_diffusers(name):
    """What is compared by default is what the installed reference makes."""
    for case, image in make_addons.CASES[name]().items():
        test_addons.close(image, case)


@pytest.mark.parametrize("kind", ["DoRA", "LoHa", "LoKr"])
def test_other_corrections_are_pefts(kind, tmp_path):
    """PEFT writes an adapter of the tiny U-Net; the kernels it makes are those we make of the file.

    The LoKr here is whole in its first matrix and in factors in the second, as PEFT has it by
    default; convolutions are of 3x3 and, in LoHa, with and without a core.
    """
    peft = pytest.importorskip("peft", reason="the parity extra (peft) is not installed")
    unet = make_addons.make_pipelines.components("sd")["unet"]
    layers = [f"{tiny._INSIDE}.attn1.to_q", "down_blocks.0.downsamplers.0.conv"]
    options = {"target_modules": layers, "r": 2}
    config = {
        "DoRA": lambda: peft.LoraConfig(**options, lora_alpha=3, use_dora=True),
        "LoHa": lambda: peft.LoHaConfig(**options, alpha=3, use_effective_conv2d=True),
        "LoKr": lambda: peft.LoKrConfig(**options, alpha=3),
    }[kind]()
    adapted = peft.get_peft_model(unet, config)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=draws)
                weight.copy_(noise.abs() + 0.5 if "magnitude" in name else noise)
    adapted.save_pretrained(tmp_path)
    model = tiny_pipelines.pipeline("sd")
    ours = with_loras(model, (load_lora(tmp_path, model), 1.0))
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    theirs = flat(load_network(tmp_path / "merged").params)
    ours, before = (flat(parts_of(m)["unet"].params) for m in (ours, model))
    changed = [name for name in before if np.any(theirs[name] != before[name])]
    assert len(changed) == len(layers)
    for name in before:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_a_lora_written_here_is_read_there(layout, tmp_path):
    """Their pipeline makes the stored image of our file, with our tensors in its layers."""
    tensors = {key: np.asarray(value) for key, value in tiny.lora("kohya").items()}
    safetensors.numpy.save_file(tensors, tmp_path / "theirs.safetensors")
    lora = load_lora(tmp_path / "theirs.safetensors", tiny_pipelines.pipeline("sd"))
    save_lora(lora, tmp_path / "ours.safetensors", layout=layout)
    pipe = make_addons.plain()
    pipe.load_lora_weights(tmp_path / "ours.safetensors", adapter_name="ours")
    layers = dict(pipe.unet.named_modules())
    for name in tiny.LORA["unet"]:
        key = "lora_unet_" + name.replace(".", "_")
        for way, factor in (("down", layers[name].lora_A), ("up", layers[name].lora_B)):
            theirs = factor["ours"].weight.detach().numpy()
            np.testing.assert_array_equal(theirs, tensors[f"{key}.lora_{way}.weight"])
    pipe.set_adapters(["ours"], [0.7])
    test_addons.close(make_addons.drawn(pipe), "lora kohya")


def test_a_token_written_here_is_read_there(tmp_path):
    rows = tiny.token_vectors()["<toy>"]
    safetensors.numpy.save_file({"emb_params": rows}, tmp_path / "theirs.safetensors")
    file = tmp_path / "theirs.safetensors"
    model = with_embedding(tiny_pipelines.pipeline("sd"), file, token="<toy>")
    save_embedding(model, "<toy>", tmp_path / "ours.safetensors")
    pipe = make_addons.plain()
    pipe.load_textual_inversion(tmp_path / "ours.safetensors")
    ids = pipe.tokenizer.convert_tokens_to_ids(["<toy>", "<toy>_1"])
    theirs = pipe.text_encoder.get_input_embeddings().weight.detach().numpy()[ids]
    np.testing.assert_array_equal(theirs, rows)


def test_an_upscaler_both_ways(tmp_path):
    make_addons.upscaler().save_pretrained(tmp_path / "theirs")
    save_pipeline(load_pipeline(tmp_path / "theirs"), tmp_path / "ours")
    again = diffusers.StableDiffusionUpscalePipeline.from_pretrained(tmp_path / "ours")
    theirs = make_addons.upscaler().unet.state_dict()
    ours = again.unet.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert again.config.max_noise_level == 39


def test_small_pickles_of_tables(tmp_path):
    """A web interface's `.pt` of a token, and an IP-Adapter's `.bin`: tables of tables."""
    rows = torch.from_numpy(tiny.token_vectors()["<toy>"])
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "x"}
    torch.save(content, tmp_path / "toy.pt")
    model = with_embedding(tiny_pipelines.pipeline("sd"), tmp_path / "toy.pt")
    (read,) = token_vectors(text_of(model), "toy")
    np.testing.assert_array_equal(read, rows.numpy())
    tables = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tiny.image_prompt().items():
        table, name = key.split(".", 1)
        tables[table][name] = torch.from_numpy(value)
    torch.save(tables, tmp_path / "ip.bin")
    encoder = tiny_pipelines.network(tiny.ADDONS["clip_vision"])
    model = with_image_prompt(tiny_pipelines.pipeline("sd"), tmp_path / "ip.bin", encoder)
    kernel = model.network.params["params"]["mid_block"]["attentions_0"]
    kernel = kernel["transformer_blocks_0"]["attn2"]["to_k_ip"]["kernel"]
    np.testing.assert_array_equal(kernel, tiny.image_prompt()["ip_adapter.7.to_k_ip.weight"].T)
