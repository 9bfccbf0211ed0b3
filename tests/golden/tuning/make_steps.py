"""Writes steps.npz: one optimizer step of fine-tuning in PyTorch, from the same start.

Full fine-tuning with min-SNR weights, prior preservation, LoRA (U-Net, text encoder, convolutions),
textual inversion and ControlNet on the tiny Stable Diffusion of tests/pretrained/tiny_models.py.
Needs the `parity` extra. `python tests/golden/tuning/make_steps.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import jax
import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "pretrained"))
sys.path.insert(0, str(HERE.parents[1] / "training"))

import make_components  # noqa: E402
import make_pipelines  # noqa: E402
import one_step as shared  # noqa: E402
import tiny_models as tiny  # noqa: E402

nchw = make_components.nchw


def given_noise() -> np.ndarray:
    """The noise that diffax draws in the first step of a run with seed 0."""
    _, key = jax.random.split(jax.random.key(0))
    _, noise_key, _ = jax.random.split(jax.random.fold_in(key, 0), 3)
    _, eps_key = jax.random.split(noise_key)
    return np.asarray(jax.random.normal(eps_key, shared.LATENTS.shape))


class LowRank(nn.Module):
    """A linear map or convolution with its correction beside it."""

    def __init__(self, layer: nn.Module, key: str) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        down, up = shared.low_rank(key, tuple(layer.weight.shape))
        self.down = nn.Parameter(torch.from_numpy(down))
        self.up = nn.Parameter(torch.from_numpy(up))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = shared.ALPHA / shared.RANK
        if isinstance(self.layer, nn.Conv2d):
            place = dict(stride=self.layer.stride, padding=self.layer.padding)
            h = nn.functional.conv2d(x, self.down, **place)
            return self.layer(x) + scale * nn.functional.conv2d(h, self.up[:, :, None, None])
        return self.layer(x) + scale * (x @ self.down.T @ self.up.T)


def adapt(model: nn.Module, prefix: str) -> dict[str, nn.Parameter]:
    """Puts corrections into a network; its factors by name."""
    found = {}
    for key in [k for k in model.state_dict() if shared.is_adapted(k)]:
        path, name = key.removesuffix(".weight").rpartition(".")[::2]
        parent = model.get_submodule(path)
        own = LowRank(getattr(parent, name), make_components.canonical(key, model))
        setattr(parent, name, own)
        full = prefix + make_components.canonical(key, model)
        found |= {f"{full} down": own.down, f"{full} up": own.up}
    return found


def named(model: nn.Module) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters())


def models() -> dict[str, nn.Module]:
    """The tiny U-Net and text encoder, frozen, and the tokenizer."""
    parts = make_pipelines.components("sd")
    for name in ("unet", "text_encoder"):
        parts[name].requires_grad_(False)
    return parts


def one_step(case: str) -> dict[str, np.ndarray]:
    """Loss, norm of the gradient, and the change of every learned tensor, by its name."""
    parts = models()
    unet, text, tokenizer = parts["unet"], parts["text_encoder"], parts["tokenizer"]
    captions, control = shared.CAPTIONS, None
    if case in ("full", "prior"):
        learned = named(unet.requires_grad_(True))
    elif case == "lora":
        learned = adapt(unet, "unet.") | adapt(text, "text_encoder.")
    elif case == "textual_inversion":
        captions = [c.replace("<new>", "<new> <new>_1") for c in shared.NEW_CAPTIONS]
        tokenizer.add_tokens(["<new>", "<new>_1"])
        (cat,) = tokenizer("cat", add_special_tokens=False).input_ids
        text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = text.get_input_embeddings().weight
        with torch.no_grad():
            table[-shared.VECTORS :] = table[cat]
        learned = {"table": table.requires_grad_(True)}
    else:
        control = diffusers.ControlNetModel.from_unet(
            unet, conditioning_channels=3,
            conditioning_embedding_out_channels=shared.CONTROL[
                "conditioning_embedding_out_channels"
            ],
        )  # fmt: skip
        control = make_components.fill(control)
        learned = named(control)
    before = {name: value.detach().clone() for name, value in learned.items()}

    ids = tokenizer(
        captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    context = text(ids)[0]
    scheduler = diffusers.DDPMScheduler.from_config(tiny.SCHEDULER)
    latents, noise = nchw(shared.LATENTS), nchw(given_noise())
    t = torch.from_numpy(shared.TIMES)
    noisy = scheduler.add_noise(latents, noise, t)
    residuals = {}
    if control is not None:
        image = nchw(shared.control_image().astype(np.float32) / 255)
        down, mid = control(noisy, t, context, controlnet_cond=image, return_dict=False)
        residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
    answer = unet(noisy, t, context, **residuals).sample
    each = ((answer - noise) ** 2).mean(dim=(1, 2, 3))
    if case == "full":
        bar = scheduler.alphas_cumprod[t]
        snr = bar / (1 - bar)
        each = each * torch.clamp(snr, max=shared.GAMMA) / snr
    loss = each[0] + shared.PRIOR_WEIGHT * each[1] if case == "prior" else each.mean()

    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in learned.values()))
    if case != "textual_inversion":
        torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
    optimizer = torch.optim.AdamW(
        learned.values(),
        lr=shared.LEARNING_RATE,
        eps=shared.EPSILON,
        weight_decay=shared.DECAY,
    )
    optimizer.step()
    changed = {name: (value.detach() - before[name]).numpy() for name, value in learned.items()}
    if case == "textual_inversion":
        changed = {"table": changed["table"][-shared.VECTORS :]}
        norm = table.grad[-shared.VECTORS :].norm()
    return {"loss": loss.item(), "norm": norm.item(), **changed}


def main() -> None:
    out = {"noise": given_noise()}
    for case in shared.CASES:
        for name, value in one_step(case).items():
            whole = name in ("loss", "norm")
            out[f"{case}/{name}"] = np.float32(value) if whole else shared.digest(name, value)
        print(case, out[f"{case}/loss"], out[f"{case}/norm"])
    # One array a case: an .npz spends more on a tensor's name than on its digest.
    packed = {"noise": out.pop("noise")}
    for case in shared.CASES:
        own = {k.partition("/")[2]: v for k, v in out.items() if k.startswith(case + "/")}
        scalars = [own.pop("loss"), own.pop("norm")]
        packed[f"{case} scalars"] = np.array(scalars, np.float32)
        packed[f"{case} names"] = np.array(sorted(own))
        packed[f"{case} digests"] = np.stack([own[name] for name in sorted(own)])
    np.savez_compressed(HERE / "steps.npz", **packed)


if __name__ == "__main__":
    main()
