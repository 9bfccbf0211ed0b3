"""Quality against network calls of every solver on a trained run of `digits`.

    python train.py --config digits
    python benchmarks/sampler_quality.py --workdir runs/digits

The same noises and labels for every solver, on `trailing` and on `logsnr` grids, of which the
better one counts. Two figures: the Frechet distance of the samples
to the training images in pixel space (64 dimensions; lower is better; real held-out digits are
given beside it), and, for deterministic solvers, the root mean square distance per pixel to the
exact solution of the probability-flow ODE from the same noise. Writes
`benchmarks/results/sampler_quality.json`, an image, and the table in `docs/samplers.md`.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import diffax
from diffax.data import Digits
from diffax.evaluation import Moments, frechet_distance
from diffax.solvers import registry
from diffax.training import load_run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from sampler_proofs import write  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "sampler_quality.json"
FIGURE = ROOT / "docs" / "images" / "sampler_quality.png"
CALLS = (5, 10, 15, 20, 50)
SPACINGS = ("trailing", "logsnr")
DETERMINISTIC = (
    "ddim",
    "heun",
    "kdpm2",
    "dpmpp_2m",
    "dpmpp_3m",
    "dpmpp_2s",
    "dpm_2m",
    "deis",
    "unipc",
    "lms",
    "plms",
    "pndm",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STOCHASTIC = ("ddpm", "euler_ancestral", "dpmpp_2m_sde")


def main() -> None:
    """Measure, store, draw, and fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="runs/digits")
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--draw-only", action="store_true", help="from the stored results")
    options = parser.parse_args()
    if options.draw_only:
        result = json.loads(RESULT.read_text())
    else:
        result = measure(options.workdir, options.num)
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    draw(result)
    write("quality", table(result))


def steps_for(name: str, calls: int) -> int | None:
    """Intervals that a budget of calls pays for, or None."""
    entry = registry.lookup(name)
    paid = [steps for steps in range(1, calls + 1) if entry.count(steps) <= calls]
    return paid[-1] if paid and paid[-1] >= entry.description.least_steps else None


def measure(workdir: str, num: int) -> dict:
    """Every solver at every budget."""
    model = load_run(workdir)
    labels = jnp.arange(num) % 10
    network = diffax.Network(
        model.network.module.apply, model.network.params, {"label": labels}, model.parameterization
    )
    denoiser = diffax.guidance.Clip(network, 1.0)
    keys = diffax.sample_keys(0, num)
    noise = diffax.initial_noise(keys, (8, 8, 1))
    sample = jax.jit(diffax.sample)

    def samples(name: str, steps: int, spacing: str) -> np.ndarray:
        grid = diffax.time_grid(model.schedule, steps, spacing)
        solver = registry.build(name, model.schedule)
        return np.asarray(sample(denoiser, solver, grid, noise, keys), np.float64)

    exact = samples("dpmpp_3m", 200, "logsnr")
    real = {
        split: Digits(split=split).load().arrays()["x"] / 127.5 - 1.0 for split in ("train", "test")
    }
    found = {}
    for name in (*DETERMINISTIC, *STOCHASTIC):
        rows = []
        for calls in CALLS:
            steps = steps_for(name, calls)
            if steps is None:
                continue
            tried = []
            for spacing in SPACINGS:
                x = samples(name, steps, spacing)
                error = float(np.sqrt(np.mean((x - exact) ** 2)))
                tried.append([frechet(x, real["train"]), error, spacing])
            if name in DETERMINISTIC:
                distance, error, spacing = min(tried, key=lambda t: t[1])
            else:
                (distance, _, spacing), error = min(tried), None
            rows.append([calls, steps, distance, error, spacing])
            print(name, rows[-1], flush=True)
        found[name] = rows
    return {
        "solvers": found,
        "exact": frechet(exact, real["train"]),
        "held out": frechet(real["test"], real["train"]),
        "samples": num,
    }


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Frechet distance of normal distributions fitted to pixels, quantized as images are."""
    x, y = (np.rint((np.clip(v, -1, 1) + 1) * 127.5).reshape(len(v), -1) / 127.5 for v in (x, y))
    zero = Moments.zero(x.shape[1])
    return frechet_distance(zero.update(x).statistics(), zero.update(y).statistics())


def table(result: dict) -> str:
    """Markdown: Frechet distance, and distance to the exact solution."""
    head = "| solver | " + " | ".join(f"{calls} calls" for calls in CALLS) + " |"
    lines = [head, "|---" * (len(CALLS) + 1) + "|"]
    for name, rows in result["solvers"].items():
        cells = {row[0]: row for row in rows}
        texts = []
        for calls in CALLS:
            row = cells.get(calls)
            if row is None:
                texts.append("-")
            elif row[3] is None:
                texts.append(f"{row[2]:.2f}{mark(row)}")
            else:
                texts.append(f"{row[2]:.2f} ({row[3]:.4f}){mark(row)}")
        lines.append(f"| `{name}` | " + " | ".join(texts) + " |")
    return "\n".join(
        [
            f"`digits`, {result['samples']} samples from the same noise, the better of a "
            "`trailing` and a `logsnr` (marked *) grid: Frechet "
            "distance in pixel space and, in brackets, the root mean square distance per pixel to "
            f"the exact ODE solution, whose own Frechet distance is {result['exact']:.2f} "
            f"(held-out real digits: {result['held out']:.2f}).",
            "",
            *lines,
            "",
            "![Quality against network calls](images/sampler_quality.png)",
        ]
    )


def mark(row: list) -> str:
    """Which grid was better."""
    return "*" if row[4] == "logsnr" else ""


def draw(result: dict) -> None:
    """Both figures against the calls; each solver has its own colour, dots and line."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2))
    colours = plt.get_cmap("tab10").colors
    for place, (name, rows) in enumerate(result["solvers"].items()):
        calls = [row[0] for row in rows]
        look = dict(
            color=colours[place % len(colours)],
            marker=MARKERS[place % len(MARKERS)],
            linestyle="--" if name in STOCHASTIC else "-" if place < len(colours) else "-.",
            linewidth=2.5 if name == "ddim" else 1.3,
            markersize=6,
            markerfacecolor="none" if name in STOCHASTIC else None,
            label=name,
        )
        left.loglog(calls, [row[2] for row in rows], **look)
        if name in DETERMINISTIC:
            right.loglog(calls, [row[3] for row in rows], **look)
    left.axhline(result["exact"], color="k", lw=0.8, ls=":")
    left.set_title("Frechet distance (dotted: exact ODE)")
    right.set_title("distance to the exact ODE solution, per pixel")
    for panel in (left, right):
        panel.set_xlabel("network calls")
        panel.set_xticks(CALLS, CALLS)
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
    lines, names = left.get_legend_handles_labels()
    figure.legend(lines, names, loc="center right", frameon=False, fontsize=9, handlelength=4)
    figure.tight_layout(rect=(0, 0, 0.87, 1))
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=100)


if __name__ == "__main__":
    main()
