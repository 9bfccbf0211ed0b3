"""Live comparison with diffusers: networks and embeddings that no stored activation covers."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models.blocks.embeddings import guidance_embedding
from diffax.models.blocks.joint import JointBlock
from diffax.models.blocks.style import Style
from diffax.pretrained import load_network

torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
diffusers = pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")

pytestmark = pytest.mark.parity

UNET_2D = dict(
    block_out_channels=(16, 32),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=8,
    attention_head_dim=8,
)


def nchw(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def both(theirs, folder, x, t, ours=None, **told):
    """The outputs of a reference network and of its files read here, as trained."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        theirs.eval().save_pretrained(folder)
        expected = theirs(nchw(x), torch.from_numpy(t), **told).sample.numpy()
    return load_network(folder)(x, t, ours or {}), np.moveaxis(expected, 1, -1)


@pytest.mark.parametrize(
    "fields",
    [
        {"resnet_time_scale_shift": "scale_shift"},
        {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
        {"resnet_time_scale_shift": "scale_shift", "attention_head_dim": None},
        {"attn_norm_num_groups": 4},
        {"resnet_time_scale_shift": "scale_shift", "add_attention": False},
    ],
)
def test_middle_attention_with_and_without_a_norm(fields, tmp_path):
    numbers = np.random.default_rng(0)
    x = numbers.standard_normal((2, 8, 8, 3)).astype(np.float32)
    theirs = diffusers.UNet2DModel(**UNET_2D | fields)
    ours, expected = both(theirs, tmp_path, x, np.array([3.0, 700.0], np.float32))
    np.testing.assert_allclose(ours, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [256, 33])
def test_guidance_embedding(size):
    method = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding
    w = np.array([0.0, 0.5, 7.5, 13.0], np.float32)
    expected = method(types.SimpleNamespace(), torch.from_numpy(w), size).numpy()
    # An angle of 13,000 in float32 is known to 1e-3, and the reference rounds its frequencies too.
    np.testing.assert_allclose(guidance_embedding(jnp.asarray(w), size), expected, atol=5e-3)


def test_a_distilled_network_is_told_its_guidance(tmp_path):
    numbers = np.random.default_rng(0)
    x = numbers.standard_normal((2, 8, 8, 4)).astype(np.float32)
    text = numbers.standard_normal((2, 5, 6)).astype(np.float32)
    w = guidance_embedding(jnp.array([0.5, 7.0]), 12)
    theirs = diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=2,
        cross_attention_dim=6,
        time_cond_proj_dim=12,
    )
    ours, expected = both(
        theirs,
        tmp_path,
        x,
        np.array([3.0, 700.0], np.float32),
        {"context": text, "guidance": w},
        encoder_hidden_states=torch.from_numpy(text),
        timestep_cond=torch.from_numpy(np.array(w)),
    )
    np.testing.assert_allclose(ours, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("last", [False, True])
def test_the_joint_block_is_that_of_stable_diffusion_3(last):
    from diffusers.models.attention import JointTransformerBlock

    torch.manual_seed(0)
    theirs = JointTransformerBlock(16, 2, 8, context_pre_only=last).eval()
    drawn = np.random.default_rng(0)
    x, text, vector = (
        drawn.standard_normal(shape).astype(np.float32)
        for shape in ((2, 6, 16), (2, 5, 16), (2, 16))
    )
    with torch.no_grad():
        told = theirs(*map(torch.from_numpy, (x, text, vector)))
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    if last:  # the original has scale and shift the other way round there
        for name in ("norm1_context.linear.weight", "norm1_context.linear.bias"):
            state[name] = np.concatenate(np.split(state[name], 2)[::-1])
    names = {"modulation": "norm1.linear", "text_modulation": "norm1_context.linear"}
    names |= {f"to_{p}": f"attn.to_{p}" for p in "qkv"} | {"to_out_0": "attn.to_out.0"}
    names |= {f"text_to_{p}": f"attn.add_{p}_proj" for p in "qkv"}
    names |= {"text_to_out_0": "attn.to_add_out"}
    layers = {
        ours: {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}
        for ours, name in names.items()
        if f"{name}.weight" in state and not (last and ours == "text_to_q")
    }
    for ours, name in (("mlp", "ff"), ("text_mlp", "ff_context")):
        if f"{name}.net.2.weight" in state:
            inner, outer = (
                {"kernel": state[f"{name}.net.{n}.weight"].T, "bias": state[f"{name}.net.{n}.bias"]}
                for n in ("0.proj", "2")
            )
            layers[ours] = {"net_0": {"proj": inner}, "net_2": outer}
    got = JointBlock(Style(), heads=2, last=last).apply({"params": layers}, x, text, vector)
    np.testing.assert_allclose(got[0], told[1].numpy(), atol=2e-5)
    if not last:
        np.testing.assert_allclose(got[1], told[0].numpy(), atol=2e-5)
