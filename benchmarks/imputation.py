"""Gaps in time series: a trained model against straight lines and against the best guess there is.

    python train.py --config time_series:oscillations --workdir DIR
    python benchmarks/imputation.py --workdir DIR

Held-out draws of a Gaussian process, in which a stretch of both channels, a stretch of one channel,
or every second number is missing. The model's guess is the mean of its draws (`generate` with a
mask); the best guess is the conditional mean, which is known. Root mean squared errors of what is
missing, in standard deviations of the data, and the share of missing numbers that lie within the
middle 80 % of the model's draws. Writes `benchmarks/results/imputation.json`,
`docs/images/imputation.png` and the table in `docs/audio.md`.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np

from diffax import plotting
from diffax.data.oscillations import best_guess
from diffax.generation import generate
from diffax.plotting import canvas
from diffax.training import open_run

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from sampler_proofs import write  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "imputation.json"
NUM, DRAWS, STEPS, SHOWN = 32, 16, 50, 4
MIDDLE = 0.8


def main() -> None:
    """Measure, check, store, draw, and fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="a run of time_series:oscillations")
    run = open_run(parser.parse_args().workdir)
    process = type(run.config.data)(
        num=NUM, length=run.config.data.length, period=run.config.data.period,
        memory=run.config.data.memory, split="test",
    )  # fmt: skip
    series = process.load().arrays()["x"]
    rows = {}
    for name, missing in masks(process.length).items():
        draws = drawn(run.model, series, missing)
        guesses = {
            "straight lines": straight(series, missing),
            "the model": draws.mean(axis=1),
            "best guess": best_guess(series, missing, process),
        }
        rows[name] = {key: rmse(guess, series, missing) for key, guess in guesses.items()}
        low, high = np.quantile(draws, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2], axis=1)
        inside = (series >= low) & (series <= high)
        rows[name]["inside"] = float(inside[:, missing].mean())
        print(name, rows[name], flush=True)
        if name == "a stretch":
            plotting.save_image(
                ROOT / "docs/images/imputation.png", picture(series, missing, draws, guesses)
            )
    result = {
        "rmse": rows,
        "series": NUM,
        "draws": DRAWS,
        "steps": run.step,
        "sampling_steps": STEPS,
        "device": jax.devices()[0].device_kind,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    write("imputation", table(rows), ROOT / "docs" / "audio.md")
    worse = [name for name, row in rows.items() if row["the model"] >= row["straight lines"]]
    if worse:
        raise SystemExit(f"straight lines are better: {', '.join(worse)}")


def masks(length: int) -> dict[str, np.ndarray]:
    """What is missing, bool `[length, 2]`."""
    stretch, one, second = (np.zeros((length, 2), bool) for _ in range(3))
    gap = slice(length // 2 - length // 8, length // 2 + length // 8)
    stretch[gap] = True
    one[gap, 1] = True
    second[1::2] = True
    return {"a stretch": stretch, "a stretch of one channel": one, "every second moment": second}


def drawn(model, series: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`DRAWS` of each series, `[N, DRAWS, L, C]`."""
    each = np.repeat(series, DRAWS, axis=0)
    made = generate(model, image=each, mask=missing, num=len(each), seed=0, steps=STEPS).data
    return np.asarray(made, np.float64).reshape(len(series), DRAWS, *series.shape[1:])


def straight(series: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Linear interpolation, channel by channel."""
    guess, moments = np.array(series, np.float64), np.arange(series.shape[1])
    for channel in range(series.shape[2]):
        gap = missing[:, channel]
        for one in guess:
            one[gap, channel] = np.interp(moments[gap], moments[~gap], one[~gap, channel])
    return guess


def rmse(guess: np.ndarray, series: np.ndarray, missing: np.ndarray) -> float:
    """Root mean squared error of what is missing."""
    return float(np.sqrt(np.mean((guess - series)[:, missing] ** 2)))


def picture(
    series: np.ndarray, missing: np.ndarray, draws: np.ndarray, guesses: dict[str, np.ndarray]
) -> np.ndarray:
    """The first channel of a few series: draws, truth, and the straight line."""
    page = canvas.figure(900, 180 * SHOWN // 2 + 40)
    moments, gap = np.arange(series.shape[1]), missing[:, 0]
    around = np.flatnonzero(np.convolve(gap, [1, 1, 1], "same"))
    for i in range(SHOWN):
        panel = page.add_subplot(SHOWN // 2, 2, i + 1)
        panel.plot(moments[around], draws[i, :, around, 0], color=canvas.FAINT, linewidth=0.6)
        panel.plot(moments, series[i, :, 0], color="black", linewidth=1.2, label="truth")
        for name, colour in (("the model", canvas.INK), ("straight lines", canvas.COLOURS[1])):
            line = guesses[name][i, around, 0]
            panel.plot(moments[around], line, color=colour, linewidth=1.4, label=name)
        panel.set(xticks=[], yticks=[], xlim=(0, len(moments) - 1))
        if i == 0:
            panel.legend(frameon=False, fontsize=8, loc="upper left")
    page.tight_layout()
    return canvas.pixels(page)


def table(rows: dict[str, dict[str, float]]) -> str:
    """The table of the documentation."""
    lines = [
        "| missing | straight lines | the model | best guess | within the middle 80 % of draws |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        figures = " | ".join(f"{row[key]:.4f}" for key in GUESSES)
        lines.append(f"| {name} | {figures} | {row['inside']:.0%} |")
    return "\n".join(lines)


GUESSES = ("straight lines", "the model", "best guess")

if __name__ == "__main__":
    main()
