"""Memory of tuning Stable Diffusion 1.5 at full size: `train.py --dry-run`, without its weights.

    python benchmarks/tuning_memory.py
    python benchmarks/tuning_memory.py --recipe lora --size 512 --batch 1 -- --network.remat True

Makes a folder with the published shapes, whose weights are zeros in sparse files (they take no
disk), and one captioned image; then lets train.py say what a run would take: the state (what is
learned, optimizer, averages) and XLA's own figures for one step. What follows `--` is for train.py.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from diffax.commands import train
from diffax.pretrained import naming
from diffax.pretrained.configs import config_from_module, module_from_config, parameter_shapes
from diffax.pretrained.families import FAMILIES
from diffax.pretrained.filling import leaves
from diffax.pretrained.network import weights_stem
from diffax.pretrained.tokenizer import (
    END,
    START,
    Tokenizer,
    byte_letters,
    from_vocabulary,
    save_tokenizer,
)

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Prints one dry run for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", nargs="+", default=["lora", "full_tuning"])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    own, _, more = _split(sys.argv[1:])
    flags = parser.parse_args(own)
    with tempfile.TemporaryDirectory() as folder:
        model, images = Path(folder) / "sd15", Path(folder) / "images"
        write_model(model)
        images.mkdir()
        Image.new("RGB", (flags.size, flags.size)).save(images / "0.png")
        (images / "0.txt").write_text("a")
        for recipe in flags.recipe:
            given = ["--config", recipe, "--pretrained", str(model), "--data.dir", str(images)]
            given += ["--data.image_size", str(flags.size), "--train.batch_size", str(flags.batch)]
            given += ["--workdir", str(Path(folder) / recipe), "--dry-run", *more]
            train.main(given, recipes=ROOT / "configs")


def write_model(folder: Path) -> None:
    """A diffusers folder of Stable Diffusion 1.5 whose weights are zeros."""
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "PNDMScheduler"]}
    for name in ("unet", "vae", "text_encoder"):
        module = module_from_config(FAMILIES["sd1"][name])
        (folder / name).mkdir(parents=True)
        config = config_from_module(module)
        (folder / name / "config.json").write_text(json.dumps(config))
        write_zeros(folder / name / f"{weights_stem(module)}.safetensors", parameter_shapes(module))
        index[name] = ["diffusers", type(module).__name__]
    (folder / "scheduler").mkdir()
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(FAMILIES["sd1"]["scheduler"]))
    letters = byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), START, END]
    backend = from_vocabulary({token: i for i, token in enumerate(tokens)}, [])
    save_tokenizer(folder / "tokenizer", Tokenizer(backend, len(tokens) - 2, len(tokens) - 1, 0))
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    (folder / "model_index.json").write_text(json.dumps(index))


def write_zeros(file: Path, shapes: dict) -> None:
    """A safetensors file of zeros, which is a header and a hole."""
    header, offset = {}, 0
    for key, (leaf, value) in sorted(leaves(shapes).items()):
        shape = naming.published_shape(leaf, value.shape)
        end = offset + 4 * int(np.prod(shape))
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + offset)


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], "--", arguments[at + 1 :]


if __name__ == "__main__":
    main()
