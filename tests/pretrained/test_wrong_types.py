"""Hand-edited or hostile JSON files: one line that names the value, and nothing is built."""

import json

import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax.pretrained import load_components, load_network, load_pipeline
from diffax.pretrained.configs import module_from_config
from diffax.pretrained.types import fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipelines.components("sd").save(place)
    return place


@pytest.fixture
def refused(folder, monkeypatch):
    """Loads with one value changed; the error must be one line."""

    def load(name, key, value, loader=load_components):
        file = folder / name
        whole = file.read_text()
        try:
            file.write_text(json.dumps({**json.loads(whole), key: value}))
            with pytest.raises(ValueError) as error:
                loader(folder if "config.json" not in name else file.parent)
        finally:
            file.write_text(whole)
        assert "\n" not in str(error.value)
        return str(error.value)

    return load


@pytest.mark.parametrize(
    "key, value",
    [
        ("_class_name", None),
        ("_class_name", 3),
        ("_class_name", ["StableDiffusionPipeline"]),
        ("unet", "unet"),
        ("unet", 1),
        ("unet", ["diffusers"]),
        ("unet", [None, None]),
        ("vae", None),
        ("vae", [1, 2]),
        ("text_encoder", {"a": 1}),
        ("tokenizer", True),
        ("scheduler", 5),
        ("force_zeros_for_empty_prompt", "yes"),
        ("requires_aesthetics_score", None),
    ],
)
def test_model_index(refused, key, value):
    said = refused("model_index.json", key, value)
    assert key in said or f"pipeline {value!r} is not supported" in said


@pytest.mark.parametrize(
    "key, value",
    [
        ("sample_size", "64"),
        ("sample_size", [16]),
        ("sample_size", -1),
        ("in_channels", None),
        ("in_channels", [4]),
        ("out_channels", "4"),
        ("block_out_channels", 32),
        ("block_out_channels", [32, "64"]),
        ("block_out_channels", []),
        ("block_out_channels", [32, 10**9]),
        ("layers_per_block", 10**9),
        ("layers_per_block", -1),
        ("layers_per_block", 1.5),
        ("layers_per_block", True),
        ("down_block_types", None),
        ("down_block_types", {"a": 1}),
        ("down_block_types", ["DownBlock2D"]),
        ("norm_num_groups", 0),
        ("norm_eps", "1e-5"),
        ("norm_eps", float("nan")),
        ("cross_attention_dim", []),
        ("attention_head_dim", {}),
        ("mid_block_scale_factor", 10**12),
        ("freq_shift", [0]),
        ("flip_sin_to_cos", 1),
        ("time_cond_proj_dim", [256]),
        ("mid_block_type", ["UNetMidBlock2DCrossAttn"]),
    ],
)
def test_config_of_a_network(refused, key, value):
    assert key in refused("unet/config.json", key, value, load_network)


@pytest.mark.parametrize("value", [5, ["CLIPTextModel", 1], {}, [], [3]])
def test_the_class_of_a_text_encoder(value):
    config = tiny.CONFIGS["clip_l"] | {"architectures": value}
    if value == ["CLIPTextModel", 1]:
        assert module_from_config(config)  # only the first is read
        return
    with pytest.raises(ValueError, match="is not supported; supported are"):
        module_from_config(config)


@pytest.mark.parametrize(
    "name, key, value",
    [
        ("tokenizer/tokenizer_config.json", "model_max_length", "77"),
        ("tokenizer/tokenizer_config.json", "pad_token", {"a": 1}),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**9),
        ("scheduler/scheduler_config.json", "num_train_timesteps", "1000"),
    ],
)
def test_settings(folder, name, key, value):
    file = folder / name
    whole = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(whole), key: value}))
        with pytest.raises(ValueError, match="token" if "token" in name else key) as error:
            load_pipeline(folder)
    finally:
        file.write_text(whole)
    assert "\n" not in str(error.value)


def test_types():
    assert fits([1, 2], tuple[int, int]) and not fits([1], tuple[int, int])
    assert fits(None, int | None) and not fits(None, int)
    assert fits(3, float) and not fits(True, float) and not fits(float("inf"), float)
    assert fits([[1], [2, 3]], tuple[tuple[int, ...], ...])
    assert not fits(2**31, int) and not fits([], tuple[int, ...])
