"""Images of the documentation that need no long training.

    python train.py --config s_curve
    python benchmarks/pictures.py --workdir runs/s_curve

Writes docs/images/schedules.png (three noise schedules: signal left, log-SNR),
docs/images/mean_and_noise.png (the S-curve by DDPM as it is, and by the means of its steps alone)
and docs/images/s_curve_3d.png.
"""

import argparse
from pathlib import Path

import numpy as np

import diffax
from diffax import plotting
from diffax.data import toy
from diffax.solvers import DDPM

IMAGES = Path(__file__).parents[1] / "docs" / "images"
STEPS = 1000


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="runs/s_curve")
    options = parser.parse_args()
    plotting.save_image(IMAGES / "schedules.png", schedules())
    cloud = toy.draw("s_curve_3d", 3000, seed=0)[0]
    plotting.save_image(IMAGES / "s_curve_3d.png", plotting.scatter(cloud, size=420))
    plotting.save_image(IMAGES / "mean_and_noise.png", mean_and_noise(options.workdir))


def schedules() -> np.ndarray:
    """The share of signal power that is left, and log-SNR, over time."""
    found = {
        "linear": diffax.schedules.linear(STEPS),
        "cosine": diffax.schedules.cosine(STEPS),
        "sigmoid": diffax.schedules.sigmoid(STEPS),
    }
    times = np.arange(STEPS)
    points = {name: schedule.at(times) for name, schedule in found.items()}
    size = (560, 380)
    left = plotting.line_chart(
        {name: (times, np.asarray(point.alpha) ** 2) for name, point in points.items()},
        title="alpha_bar: the signal's power that is left",
        x_label="t",
        size=size,
    )
    # The last times of cosine are nearly pure noise: log-SNR falls to -20 there.
    right = plotting.line_chart(
        {name: (times, np.asarray(point.logsnr)) for name, point in points.items()},
        title="log SNR",
        x_label="t",
        size=size,
    )
    return np.concatenate([left, right], axis=1)


def mean_and_noise(workdir: str) -> np.ndarray:
    """The same noise, denoised with and without the noise that each step adds."""
    model = diffax.load_run(workdir)
    steps = model.settings.steps
    told = {"num": 2000, "seed": 0, "steps": steps}
    noisy = diffax.generate(model, sampler=DDPM("fixed_small"), **told).data
    alone = diffax.generate(model, sampler=DDPM("given", given=np.zeros(steps)), **told).data
    data = toy.draw("s_curve", 2000, seed=1)[0]
    titles = ["data", "DDPM: mean and noise", "the means alone"]
    return plotting.scatter_strip([data, np.asarray(noisy), np.asarray(alone)], titles, size=260)


if __name__ == "__main__":
    main()
