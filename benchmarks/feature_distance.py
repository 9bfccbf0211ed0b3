"""Frechet distances on CIFAR-10 that must grow as images get worse, and how long 60,000 take.

    python benchmarks/feature_distance.py --data DIR

DIR holds `tfds/` with CIFAR-10 and `weights/cifar10_resnet20.safetensors`. Distances are in the
64 pooled features of that network, to the training set: relative measures, not FIDs. The test set
is given as it is, blurred, with noise, and as JPEG. Writes
`benchmarks/results/feature_distance.json` and the table in `docs/evaluation.md`.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from diffax.data import TFDS
from diffax.evaluation import ResNet20, frechet_distance, moments_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from sampler_proofs import write  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "feature_distance.json"
BLURS = (0.5, 0.75, 1.0)  # standard deviation, pixels
NOISES = (5, 10, 20)  # standard deviation, of 255 levels
QUALITIES = (90, 70, 40)  # of JPEG


def main() -> None:
    """Measure, check, store, and fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with tfds/ and weights/")
    folder = parser.parse_args().data
    network = ResNet20(path=f"{folder}/weights/cifar10_resnet20.safetensors").load()
    train, test = (
        TFDS(name="cifar10", dir=f"{folder}/tfds", split=split).load()
        for split in ("train", "test")
    )

    wall, cpu = time.perf_counter(), time.process_time()
    real = moments_of(network, images(train)).statistics(network)
    clean = moments_of(network, images(test)).statistics(network)
    speed = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(f"60,000 images: {speed['wall']:.0f} s, {speed['cpu']:.0f} CPU seconds", flush=True)

    batch = test.arrays()
    pixels = batch["x"]
    rows = {"as it is": [("", frechet_distance(clean, real))]}
    for name, strengths, worse in (
        ("blurred", BLURS, blurred),
        ("with noise", NOISES, noisy),
        ("as JPEG", QUALITIES, jpeg),
    ):
        rows[name] = []
        for strength in strengths:
            found = moments_of(network, [worse(pixels, strength)]).statistics(network)
            rows[name].append((strength, frechet_distance(found, real)))
            print(name, *rows[name][-1], flush=True)
    check(rows)
    accuracy = float(np.mean(network(pixels).logits.argmax(axis=1) == batch["label"]))
    result = {
        "distances": rows,
        "accuracy": accuracy,
        "seconds": speed,
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write("feature_distance", table(result), ROOT / "docs" / "evaluation.md")


def images(dataset) -> Iterator[np.ndarray]:
    """The images of a data set, some at a time."""
    return (block["x"] for block in dataset.blocks(1024))


def blurred(x: np.ndarray, std: float) -> np.ndarray:
    """Smoothed by a Gaussian of so many pixels."""
    smooth = gaussian_filter(x.astype(np.float32), (0, std, std, 0), mode="reflect")
    return np.rint(smooth).astype(np.uint8)


def noisy(x: np.ndarray, std: float) -> np.ndarray:
    """With normal noise of so many levels."""
    noise = std * np.random.default_rng(0).standard_normal(x.shape, np.float32)
    return np.clip(np.rint(x + noise), 0, 255).astype(np.uint8)


def jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    """Written as JPEG and read again."""

    def through(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([through(image) for image in x])


def check(rows: dict[str, Iterable]) -> None:
    """Every kind has to get worse with its strength, and be worse than no change."""
    least = rows["as it is"][0][1]
    for name, found in rows.items():
        distances = [distance for _, distance in found]
        if name != "as it is" and sorted({least, *distances}) != [least, *distances]:
            raise SystemExit(f"{name}: {distances} do not grow from {least}")


def table(result: dict) -> str:
    """Markdown: what was done to the test set, a row a kind, and how far it is then."""
    distances, seconds = result["distances"], result["seconds"]
    rows = (
        ("blurred", "Gaussian blur of {} pixels"),
        ("with noise", "normal noise of {} levels"),
        ("as JPEG", "JPEG of quality {}"),
    )
    lines = ["| CIFAR-10's test set | distance to the training set |", "|---|---|"]
    lines += [f"| as it is | {distances['as it is'][0][1]:.3f} |"]
    for kind, words in rows:
        strengths = ", ".join(str(strength) for strength, _ in distances[kind])
        found = ", ".join(f"{distance:.2f}" for _, distance in distances[kind])
        lines.append(f"| {words.format(strengths)} | {found} |")
    lines += [
        "",
        f"The network's accuracy on the test set is {result['accuracy']:.2%}. All 60,000 images "
        f"took {seconds['cpu']:.0f} CPU seconds, decoding included.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
