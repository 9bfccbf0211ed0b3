"""Does a run of ours learn a new thing from four pictures? LoRA on a text-to-image run.

    python benchmarks/concept_learning.py --base runs/emoji --known EMOJI

Draws four pictures of a thing that the base has never seen (a purple triangle with a green eye, in
four places and sizes), called "zorp"; tunes the base on them by the recipe lora; and asks a judge
who knows neither model: of each sample for "a zorp", is its nearest picture, in pixels, among the
four or among the captioned pictures that the base learned? Beside it: how far samples of another
prompt moved, as a share of their distance to each other. Leaves a grid and the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw

from diffax import plotting
from diffax.commands import train
from diffax.data import ImageFolder
from diffax.generation import generate
from diffax.training import load_run

ROOT = Path(__file__).parents[1]
PROMPT, OTHER = "a zorp", "a red heart"
PLACES = ((36, 36, 30), (33, 38, 26), (39, 35, 28), (36, 33, 24))  # centre and radius, of 72


def main() -> None:
    """Tunes, samples, judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--known", required=True, help="the folder that the base learned")
    parser.add_argument("--workdir", type=Path, default=Path("runs/zorp"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--num", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    flags = parser.parse_args()

    base = load_run(flags.base)
    size = base.shape[0] * base.factor
    images = flags.workdir.parent / "zorp_images"
    draw(images)
    began = time.process_time()
    tune(flags, images, size)
    seconds = time.process_time() - began
    tuned = load_run(flags.workdir)

    concept = ImageFolder(dir=str(images), image_size=size).load().arrays()["x"]
    known = ImageFolder(dir=flags.known, image_size=size, labels=False).load().arrays()["x"]
    options = dict(num=flags.num, seed=1, guidance=3.0)
    before, after = (generate(m, prompt=PROMPT, **options).images for m in (base, tuned))
    other = [generate(m, prompt=OTHER, **options).images for m in (base, tuned)]
    figures = {
        "prompt": PROMPT,
        "samples": flags.num,
        "nearest is the concept, base": share(before, concept, known),
        "nearest is the concept, tuned": share(after, concept, known),
        "chance": len(concept) / (len(concept) + len(known)),
        f"{OTHER!r}: distance moved / distance between samples": moved(*other),
        "steps": flags.steps,
        "cpu seconds of tuning": round(seconds, 1),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(figures, indent=2))
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "concept_learning.json").write_text(json.dumps(figures, indent=2) + "\n")
    rows = np.concatenate([concept, concept, before[:8], after[:8], other[0][:8], other[1][:8]])
    grid = plotting.image_grid(rows, columns=8)
    plotting.save_image(flags.out / "concept_learning.png", grid)


def draw(folder: Path) -> None:
    """Four pictures of the thing, each with its caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, (x, y, r) in enumerate(PLACES):
        image = Image.new("RGB", (72, 72), "white")
        pen = ImageDraw.Draw(image)
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=(120, 30, 160))
        eye = r // 3
        pen.ellipse([x - eye, y, x + eye, y + 2 * eye], fill=(40, 220, 80))
        image.save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(PROMPT)


def tune(flags: argparse.Namespace, images: Path, size: int) -> None:
    """The recipe lora on the base; a finished run is left as it is."""
    given = {
        "--config": "lora",
        "--pretrained": flags.base,
        "--data.dir": images,
        "--data.image_size": size,
        "--workdir": flags.workdir,
        "--learning_rate": 1e-3,
        "--train.steps": flags.steps,
        "--train.batch_size": 8,
        "--train.steps_per_call": 10,
        "--train.save_every": flags.steps,
        "--train.sample_every": 0,
        "--train.images": False,
    }
    status = train.main([str(w) for pair in given.items() for w in pair], recipes=ROOT / "configs")
    if status:
        raise SystemExit(status)


def share(samples: np.ndarray, concept: np.ndarray, known: np.ndarray) -> float:
    """How many samples have their nearest picture, by squared distance, in the concept."""
    pool = np.concatenate([concept, known]).astype(np.float32)
    pool = pool.reshape(len(pool), -1)
    nearest = [
        np.argmin(((pool - s.reshape(1, -1)) ** 2).sum(1)) for s in samples.astype(np.float32)
    ]
    return float(np.mean(np.array(nearest) < len(concept)))


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """Distance between samples of one seed, over that between samples of different seeds."""
    a, b = (x.astype(np.float32).reshape(len(x), -1) for x in (before, after))
    same = np.linalg.norm(a - b, axis=1).mean()
    return float(same / np.linalg.norm(a - np.roll(a, 1, axis=0), axis=1).mean())


if __name__ == "__main__":
    main()
