"""Does a run of ours learn a new thing from four pictures? On a text-to-image run.

    python benchmarks/concept_learning.py --base runs/emoji --known EMOJI
    python benchmarks/concept_learning.py --base runs/emoji --known EMOJI --method textual_inversion

Draws four pictures of a thing that the base has never seen (a purple triangle with a green eye, in
four places and sizes); tunes the base on them, by the recipe lora (the thing is called "zorp") or
by textual_inversion (a new token, whose vectors start from the word "triangle"); and asks a judge
who knows neither model: of each sample for the thing, is its nearest picture, in pixels, among the
four or among the captioned pictures that the base learned? The base is asked the same, for textual
inversion by the word that the token starts from. Beside it: how far samples of another prompt
moved, as a share of their distance to each other. Leaves the figures of either method and a grid:
the four, samples of the base and of the tuned model for the thing, and of both for the other one.
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
OTHER = "red heart"
# What the tuned model is asked for, and what the base is.
PROMPTS = {"lora": ("zorp", "zorp"), "textual_inversion": ("<new>", "triangle")}
LEARNING_RATES = {"lora": 1e-3, "textual_inversion": 1e-2}
PLACES = ((36, 36, 30), (33, 38, 26), (39, 35, 28), (36, 33, 24))  # centre and radius, of 72


def main() -> None:
    """Tunes, samples, judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--known", required=True, help="the folder that the base learned")
    parser.add_argument("--method", choices=PROMPTS, default="lora")
    parser.add_argument("--workdir", type=Path, help="default: runs/zorp_METHOD")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, help="default: the method's")
    parser.add_argument("--num", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    flags = parser.parse_args()
    flags.workdir = flags.workdir or Path(f"runs/zorp_{flags.method}")
    flags.learning_rate = flags.learning_rate or LEARNING_RATES[flags.method]

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
    asked, plain = PROMPTS[flags.method]
    before = generate(base, prompt=plain, **options).images
    after = generate(tuned, prompt=asked, **options).images
    other = [generate(m, prompt=OTHER, **options).images for m in (base, tuned)]
    figures = {
        "prompts, tuned and base": [asked, plain],
        "samples": flags.num,
        "nearest is the concept, base": share(before, concept, known),
        "nearest is the concept, tuned": share(after, concept, known),
        "chance": len(concept) / (len(concept) + len(known)),
        f"{OTHER!r}: distance moved / distance between samples": moved(*other),
        "learning rate": flags.learning_rate,
        "steps": flags.steps,
        "cpu seconds of tuning": round(seconds, 1),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    print(json.dumps(figures, indent=2))
    flags.out.mkdir(parents=True, exist_ok=True)
    file = flags.out / "concept_learning.json"
    known_already = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known_already | {flags.method: figures}, indent=2) + "\n")
    rows = np.concatenate([concept, concept, before[:8], after[:8], other[0][:8], other[1][:8]])
    grid = plotting.image_grid(rows, columns=8)
    plotting.save_image(flags.out / f"concept_learning_{flags.method}.png", grid)


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
        (folder / f"{i}.txt").write_text("zorp")


def tune(flags: argparse.Namespace, images: Path, size: int) -> None:
    """The method's recipe on the base; a finished run is left as it is."""
    told = ["--data.prompts", "{}", "--conditioner.initial", PROMPTS[flags.method][1],
            "--conditioner.vectors", "4"]  # fmt: skip
    given = {
        "--config": flags.method,
        "--pretrained": flags.base,
        "--data.dir": images,
        "--data.image_size": size,
        "--workdir": flags.workdir,
        "--learning_rate": flags.learning_rate,
        "--train.steps": flags.steps,
        "--train.batch_size": 8,
        "--train.steps_per_call": 10,
        "--train.save_every": flags.steps,
        "--train.sample_every": 0,
        "--train.images": False,
    }
    words = [str(word) for pair in given.items() for word in pair]
    words += told if flags.method == "textual_inversion" else []
    status = train.main(words, recipes=ROOT / "configs")
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
