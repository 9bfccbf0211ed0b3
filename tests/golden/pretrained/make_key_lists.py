"""Writes key_lists.json.gz: names and shapes of the tensors of full-size published checkpoints.

`diffusers` layout: from the reference libraries' models on the meta device (the `parity` extra).
`original` layout: the listings of the published single files in the folder `components/` of
github.com/arenasys/stable-diffusion-webui-model-toolkit, as given by `--original FOLDER`; only
names and shapes are taken.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import diffusers
import torch
import transformers

from diffax.pretrained import families

HERE = Path(__file__).parent

ORIGINAL = {
    "sd1 unet": ("UNET-v1-SD", "model.diffusion_model."),
    "sd1 inpainting unet": ("UNET-v1-Inpainting", "model.diffusion_model."),
    "sd2 unet": ("UNET-v2-SD", "model.diffusion_model."),
    "sdxl unet": ("UNET-XL-SD", "model.diffusion_model."),
    "sdxl-refiner unet": ("UNET-XL-Refiner", "model.diffusion_model."),
    "sd1 moving average": ("UNET-v1-EMA", "model_ema.diffusion_model"),
    "vae": ("VAE-v1-SD", "first_stage_model."),
    "sd1 text_encoder": ("CLIP-v1-SD", "cond_stage_model.transformer.text_model."),
    "sd2 text_encoder": ("CLIP-v2-SD", "cond_stage_model.model."),
    "sdxl text_encoder_2": ("CLIP-XL-SD", "conditioner.embedders.1.model."),
}


def meta_model(config: dict) -> torch.nn.Module:
    config = dict(config)
    with torch.device("meta"):
        if "architectures" in config:
            cls = getattr(transformers, config.pop("architectures")[0])
            return cls(transformers.CLIPTextConfig(**config))
        return getattr(diffusers, config["_class_name"]).from_config(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", type=Path, required=True)
    folder = parser.parse_args().original
    lists = {"diffusers": {}, "original": {}}
    for family, configs in families.FAMILIES.items():
        for component, config in configs.items():
            if component not in ("scheduler", "class_embedder"):
                state = meta_model(config).state_dict()
                lists["diffusers"][f"{family} {component}"] = {
                    key: list(value.shape) for key, value in sorted(state.items())
                }
    for name, (file, prefix) in ORIGINAL.items():
        lines = (folder / f"{file}.txt").read_text().splitlines()
        lists["original"][name] = {
            prefix + key: json.loads(shape) for key, shape in (line.split(" ") for line in lines)
        }
    text = json.dumps(lists, separators=(",", ":"))
    (HERE / "key_lists.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
