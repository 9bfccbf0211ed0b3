"""Digits as 17 grey levels: how they are judged, and whether they show the class asked for.

    python train.py --config digits_tokens
    python benchmarks/digits_tokens.py --workdir runs/digits_tokens

300 digits, thirty of each class, without guidance and with it, judged by a support vector
machine that has learned the real ones; and the bound on held-out digits, in bits a pixel. Writes
`benchmarks/results/digits_tokens.json` and the table in `docs/text.md`.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from diffax import plotting
from diffax.data import Digits
from diffax.evaluation import TokenBits, digit_obedience, digit_quality
from diffax.generation import generate
from diffax.training import open_run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from sampler_proofs import write  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "digits_tokens.json"
SCALES, EACH, SHOWN = (1.0, 2.0), 30, 10


def main() -> None:
    """Measure, store, draw, and fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="a run of digits_tokens")
    run = open_run(parser.parse_args().workdir)
    labels = np.repeat(np.arange(10), EACH)
    rows = {}
    for scale in SCALES:
        images = generate(run.model, labels=list(range(10)), num=EACH, guidance=scale).images
        rows[f"guidance {scale:g}"] = judged(images, labels)
        print(scale, rows[f"guidance {scale:g}"], flush=True)
        if scale == SCALES[0]:
            shown = images.reshape(10, EACH, 8, 8, 1)[:, :SHOWN].reshape(-1, 8, 8, 1)
            plotting.save_image(
                ROOT / "docs/images/digits_tokens.png", plotting.image_grid(shown, columns=SHOWN)
            )
    real = Digits(split="test").load().arrays()
    rows["real, held out"] = judged(real["x"], real["label"])
    watched = SimpleNamespace(
        model=run.model, split=lambda name: dataclasses.replace(run.config.data, split=name).load()
    )
    bits = TokenBits(num=10**6, draws=8).measure(watched)
    result = {
        "judged": rows,
        "bits_a_pixel": bits.figures["token_bits"],
        "interval": list(bits.intervals["token_bits"]),
        "steps": run.step,
        "sampling_steps": run.model.settings.steps,
        "samples": len(labels),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write("digits_tokens", table(rows), ROOT / "docs" / "text.md")


def judged(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What the machine says of digits that were asked for by class."""
    quality, obeyed = digit_quality(images), digit_obedience(images, labels)
    return dataclasses.asdict(quality) | dataclasses.asdict(obeyed)


def table(rows: dict[str, dict[str, float]]) -> str:
    """The table of the documentation."""
    lines = ["| | read as asked | recognised for sure | spread within a class | novelty |"]
    lines.append("|---|---|---|---|---|")
    for name, row in rows.items():
        shares = " | ".join(f"{row[key]:.1%}" for key in ("as_asked", "sure"))
        lines.append(f"| {name} | {shares} | {row['diversity']:.2f} | {row['novelty']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
