"""The same pipeline in diffusers: its networks in the loop that everybody writes, no tokenizer."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from diffax.pretrained.families import FAMILIES


class Pipeline:
    """Text to pictures with guidance, of random weights; compiled on a GPU.

    Args:
        family: "sd1" or "sd2".
        dtype: of weights and computation.
        network: the U-Net, where it is there already.
    """

    def __init__(self, family: str, dtype: torch.dtype, network: Any = None):
        configs = FAMILIES[family]
        cuda = torch.cuda.is_available()
        self.device, self.dtype = torch.device("cuda" if cuda else "cpu"), dtype
        self.scaling = configs["vae"]["scaling_factor"]
        self.scheduler = diffusers.DDIMScheduler.from_config(configs["scheduler"])
        text = {k: v for k, v in configs["text_encoder"].items() if k != "architectures"}
        self.text = self._ready(transformers.CLIPTextModel(transformers.CLIPTextConfig(**text)))
        self.vae = self._ready(diffusers.AutoencoderKL.from_config(configs["vae"]))
        if network is None:
            network = self._ready(diffusers.UNet2DConditionModel.from_config(configs["unet"]))
            network = torch.compile(network) if cuda else network
        self.unet = network
        if cuda:
            self.vae.decode = torch.compile(self.vae.decode)

    def _ready(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.to(self.device, self.dtype).eval()

    @torch.no_grad()
    def latents(self, batch: int, side: int, steps: int) -> torch.Tensor:
        """`[batch, 4, side, side]` after so many steps of DDIM."""
        self.scheduler.set_timesteps(steps)
        ids = torch.full((2 * batch, 77), 7, device=self.device)
        context = self.text(ids).last_hidden_state
        x = torch.randn(batch, 4, side, side, device=self.device, dtype=self.dtype)
        for t in self.scheduler.timesteps:
            null, asked = self.unet(torch.cat([x, x]), t, context).sample.chunk(2)
            x = self.scheduler.step(null + 7.5 * (asked - null), t, x).prev_sample
        return x

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures `[batch, 3, 8 side, 8 side]`."""
        return self.vae.decode(latents / self.scaling).sample

    def wait(self) -> None:
        """Until the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
