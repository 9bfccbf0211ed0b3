"""Does a ControlNet on a run of ours follow its edges? Held-out emoji, with control and without.

    python benchmarks/control_edges.py --base runs/emoji --known EMOJI

Trains the recipe controlnet on the base, with the edges (Canny) of the images that the base knows;
then draws a sample for the caption and the edges of each held-out image, and one for the edges
alone. The judge is Canny itself: F1 of the edges of a sample and those that were given, where an
edge counts as met within one pixel. Beside it, from the same noise: the caption without control;
the edges of other images (chance); and what the autoencoder makes of the images themselves, the
best there can be. Leaves the figures and a grid; its rows are edges, originals, samples with
caption and control, with the control alone, and with the caption alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from diffax import plotting
from diffax.commands import train
from diffax.data import ImageFolder
from diffax.data.controls import edges
from diffax.evaluation.reconstruction import there_and_back
from diffax.generation import generate
from diffax.training import load_run

ROOT = Path(__file__).parents[1]
SKIN_TONES = "_1f3f[b-f]"  # versions of one emoji, which the recipe emoji leaves out
SHOWN = 12


def main() -> None:
    """Trains, samples, judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--known", required=True, help="the folder that the base learned")
    parser.add_argument("--workdir", type=Path, default=Path("runs/edges"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    flags = parser.parse_args()

    base = load_run(flags.base)
    size = base.shape[0] * base.factor
    tune(flags, size)
    model = load_run(flags.workdir)

    data = held_out(flags.known, size)
    images, captions = data["x"], [str(text) for text in data["caption"]]
    given = np.stack([edges(image) for image in images])
    # Guidance leads away from nothing said: it has no effect on the second.
    options = dict(seed=1, steps=25, guidance=flags.guidance)
    both = generate(model, control=given, prompt=captions, num=1, **options).images
    alone = generate(model, control=given, num=len(given), **options).images
    without = generate(base, prompt=captions, num=1, **options).images
    _, copies = there_and_back(base.codec, images)
    figures = {
        "held-out images": len(images),
        "F1, caption and control": overlap(both, given),
        "F1, control alone": overlap(alone, given),
        "F1, caption alone": overlap(without, given),
        "F1, edges of other images": overlap(np.roll(both, 1, axis=0), given),
        "F1, the autoencoder's copies": overlap(copies, given),
        "learning rate": flags.learning_rate,
        "steps": flags.steps,
        "guidance": flags.guidance,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(figures, indent=2))
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "control_edges.json").write_text(json.dumps(figures, indent=2) + "\n")
    rows = np.concatenate([part[:SHOWN] for part in (given, images, both, alone, without)])
    plotting.save_image(flags.out / "control_edges.png", plotting.image_grid(rows, columns=SHOWN))


def tune(flags: argparse.Namespace, size: int) -> None:
    """The recipe controlnet on the base; a finished run is left as it is."""
    given = {
        "--config": "controlnet",
        "--pretrained": flags.base,
        "--data.dir": flags.known,
        "--data.image_size": size,
        "--data.split": "train",
        "--data.held_out": 0.05,
        "--data.leave_out": SKIN_TONES,
        "--codec.cache": f"{flags.workdir}_latents.npz",
        "--workdir": flags.workdir,
        "--learning_rate": flags.learning_rate,
        "--train.steps": flags.steps,
        "--train.batch_size": 32,
        "--train.steps_per_call": 10,
        "--train.save_every": flags.steps,
    }
    status = train.main([str(w) for pair in given.items() for w in pair], recipes=ROOT / "configs")
    if status:
        raise SystemExit(status)


def held_out(folder: str, size: int) -> dict[str, np.ndarray]:
    """The images, with captions, that neither the base nor the ControlNet has seen."""
    data = ImageFolder(dir=folder, image_size=size, labels=False, captions=True, split="test",
                       held_out=0.05, leave_out=SKIN_TONES)  # fmt: skip
    return data.load().arrays()


def overlap(samples: np.ndarray, given: np.ndarray) -> float:
    """F1 of the samples' edges and those that were given, the mean over the images."""
    scores = []
    for sample, wanted in zip(samples, given, strict=True):
        own, asked = edges(np.asarray(sample))[..., 0] > 0, wanted[..., 0] > 0
        if not asked.any():
            continue  # an image without any edge says nothing
        precision = (own & near(asked)).sum() / max(own.sum(), 1)
        recall = (asked & near(own)).sum() / asked.sum()
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return round(float(np.mean(scores)), 4)


def near(mask: np.ndarray) -> np.ndarray:
    """What lies within one pixel of a mask, diagonals included."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    return np.any([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], 0)


if __name__ == "__main__":
    main()
