"""Writes components.npz: the reference libraries' activations for the networks of tiny_models.py.

Needs torch, diffusers and transformers (the `parity` extra). Run from anywhere:
`python tests/golden/pretrained/make_components.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))

import tiny_models  # noqa: E402


def build(name: str) -> torch.nn.Module:
    """The reference library's network with the formula's weights."""
    config = dict(tiny_models.CONFIGS[name])
    if "architectures" in config:
        name = config.pop("architectures")[0]
        kind = "Text" if "Text" in name else "Vision"
        settings = getattr(transformers, f"CLIP{kind}Config")
        model = getattr(transformers, name)(settings(**config))
    else:
        model = getattr(diffusers, config["_class_name"]).from_config(config)
    return fill(model)


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """Overwrites all parameters by the formula."""
    state = {
        key: torch.from_numpy(tiny_models.weight(canonical(key, model), tuple(value.shape)))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval()


def canonical(key: str, model: torch.nn.Module) -> str:
    """The key with `text_model.`, which transformers dropped in version 5."""
    clip = type(model).__name__.startswith("CLIPText")
    bare = clip and not key.startswith(("text_model.", "text_projection."))
    return "text_model." + key if bare else key


def nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def nhwc(x: torch.Tensor) -> np.ndarray:
    return np.moveaxis(x.detach().numpy(), 1, -1)


@torch.no_grad()
def unet(name: str, control: bool = False) -> np.ndarray:
    inputs = tiny_models.unet_inputs(name)
    options = {}
    if "context" in inputs:
        options["encoder_hidden_states"] = torch.from_numpy(inputs["context"])
    if "pooled" in inputs:
        options["added_cond_kwargs"] = {
            "text_embeds": torch.from_numpy(inputs["pooled"]),
            "time_ids": torch.from_numpy(inputs["size_ids"]),
        }
    if "label" in inputs:
        options["class_labels"] = torch.from_numpy(inputs["label"])
    if "guidance" in inputs:
        options["timestep_cond"] = torch.from_numpy(inputs["guidance"])
    if control:
        skips, mid = tiny_models.control_residuals()
        options["down_block_additional_residuals"] = tuple(map(nchw, skips))
        options["mid_block_additional_residual"] = nchw(mid)
    t = torch.from_numpy(inputs["t"])
    return nhwc(build(name)(nchw(inputs["x"]), t, **options).sample)


@torch.no_grad()
def main() -> None:
    golden = {
        name: unet(name)
        for name, config in tiny_models.CONFIGS.items()
        if config.get("_class_name", "").startswith("UNet")
    }
    golden["unet_sd1 with control"] = unet("unet_sd1", control=True)

    vae = build("vae")
    posterior = vae.encode(nchw(tiny_models.draws("picture", 2, 16, 12, 3))).latent_dist
    golden["vae mean"], golden["vae logvar"] = nhwc(posterior.mean), nhwc(posterior.logvar)
    golden["vae decoded"] = nhwc(vae.decode(nchw(tiny_models.draws("latent", 2, 8, 6, 4))).sample)

    vq = build("vq")
    golden["vq latents"] = nhwc(vq.encode(nchw(tiny_models.draws("picture", 2, 16, 12, 3))).latents)
    codes = nchw(tiny_models.draws("codes", 2, 8, 6, 3))
    golden["vq decoded"] = nhwc(vq.decode(codes).sample)

    for name in ("clip_l", "clip_h"):
        out = build(name)(torch.from_numpy(tiny_models.token_ids()), output_hidden_states=True)
        golden[f"{name} last"] = out.last_hidden_state[:, ::8].numpy()
        golden[f"{name} hidden"] = torch.stack(out.hidden_states)[:, :, ::8].numpy()
        pooled = out.text_embeds if name == "clip_h" else out.pooler_output
        golden[f"{name} pooled"] = pooled.numpy()
    np.savez_compressed(HERE / "components.npz", **golden)


if __name__ == "__main__":
    main()
