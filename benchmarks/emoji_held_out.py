"""How an autoencoder and an upscaler do on held-out emoji that have no sibling in training.

    python benchmarks/emoji_held_out.py --data EMOJI --out benchmarks/results

Half of the emoji are one of five skin tones of another one, so that an image that is held out by
its name has often been seen in another colour. Here those are told apart: the figures of all that
were held out, and of those of which no other version was trained on.
"""

import argparse
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from diffax.conditioning.low_res import enlarged
from diffax.data import ImageFolder
from diffax.evaluation import psnr, sharpness, ssim
from diffax.evaluation.reconstruction import there_and_back
from diffax.generation import upscale
from diffax.image_range import to_uint8
from diffax.training import load_codec, load_run

# Skin tones, genders, hair and directions: what versions of one emoji differ by.
_VERSION = re.compile(r"_(1f3f[b-f]|200d|2640|2642|fe0f|27a1|1f9b[0-3])")


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--autoencoder", default="runs/emoji_autoencoder")
    parser.add_argument("--upscale", default="runs/upscale")
    parser.add_argument("--data", required=True, help="the folder of emoji")
    parser.add_argument("--out", default=".", type=Path)
    flags = parser.parse_args()
    alone = np.array([not sibling for sibling in has_sibling(flags.data)])
    small, large = (held_out(flags.data, size) for size in (32, 64))
    _, copies = there_and_back(load_codec(flags.autoencoder), small)
    model = load_run(flags.upscale)
    low = model.conditioner.columns({"x": large})["low_res"]
    guesses = {
        "ours": to_uint8(np.asarray(upscale(model, low, seed=0, batch_size=64))),
        "bicubic": to_uint8(np.asarray(enlarged(jnp.asarray(low), model.conditioner.factor))),
    }
    figures = {}
    for name, rows in (("all held out", np.ones(len(small), bool)), ("no sibling", alone)):
        figures[name] = {
            "images": int(rows.sum()),
            "autoencoder": compared(small[rows], copies[rows]),
            "original sharpness": round(float(sharpness(large[rows]).mean()), 1),
        } | {key: compared(large[rows], guess[rows]) for key, guess in guesses.items()}
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "emoji_held_out.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def held_out(folder: str, size: int, split: str = "test") -> np.ndarray:
    """The recipes' split of the emoji, uint8 `[N, size, size, 3]`."""
    data = ImageFolder(dir=folder, image_size=size, labels=False, split=split, held_out=0.05)
    return data.load().arrays()["x"]


def has_sibling(folder: str) -> list[bool]:
    """Of every held-out emoji, in order, whether another version of it is trained on."""
    names = sorted(path.name for path in Path(folder).glob("*.png"))
    data = {s: ImageFolder(dir=folder, split=s, held_out=0.05) for s in ("train", "test")}
    train, test = (data[s]._of_split(names, Path(folder)) for s in ("train", "test"))
    families = {_VERSION.sub("", name) for name in train}
    return [_VERSION.sub("", name) in families for name in test]


def compared(images: np.ndarray, guesses: np.ndarray) -> dict:
    """PSNR, SSIM and sharpness, means over the images."""
    return {
        "psnr": round(float(np.minimum(psnr(images, guesses), 100).mean()), 2),
        "ssim": round(float(ssim(images, guesses).mean()), 4),
        "sharpness": round(float(sharpness(guesses).mean()), 1),
    }


if __name__ == "__main__":
    main()
