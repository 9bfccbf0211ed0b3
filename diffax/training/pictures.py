"""The pictures that a run leaves behind."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from diffax import gaussian, plotting
from diffax.data import Dataset
from diffax.schedules import Schedule
from diffax.training.generate import SampleConfig, Samples
from diffax.training.run import Facts

_PATH_BYTES = 256 * 2**20  # a denoising path larger than this is not kept
_SMALL = 32 * 32 * 3  # numbers in an example up to which a run leaves animations
_FRAMES = 60
_STRIP = 20


def keeps_path(config: SampleConfig, shape: tuple[int, ...]) -> bool:
    """Whether all states of a sampling fit in memory without a thought."""
    return 4 * config.steps * config.num * math.prod(shape) <= _PATH_BYTES


def is_small(shape: tuple[int, ...]) -> bool:
    """Whether animations of the process are cheap."""
    return math.prod(shape) <= _SMALL


def grid(samples: Samples, facts: Facts) -> np.ndarray:
    """Samples as one picture."""
    return _picture(samples.x, samples.label, facts)


def strip(samples: Samples, facts: Facts) -> np.ndarray | None:
    """How samples came about, time from left to right; None without their paths."""
    if samples.path is None:
        return None
    if facts.kind == "image":
        return plotting.strip(samples.path[:, :8])
    chosen = np.unique(np.linspace(0, len(samples.path) - 1, _STRIP).round().astype(int))
    clouds = facts.coordinates(samples.path[chosen])
    return plotting.points_strip(clouds, [f"step {i + 1}" for i in chosen], labels=samples.label)


def reverse_animation(path: Path, samples: Samples, times: np.ndarray, facts: Facts) -> None:
    """Writes the denoising as a GIF.

    Args:
        path: of the GIF.
        samples: with their paths.
        times: [S] the time of every state.
        facts: of the data.
    """
    chosen = np.unique(np.linspace(0, len(samples.path) - 1, _FRAMES).round().astype(int))
    _animation(path, samples.path[chosen], times[chosen], samples.label, facts)


def forward_pictures(
    folder: Path, dataset: Dataset, schedule: Schedule, facts: Facts, *, num: int
) -> None:
    """Writes q(x_t) over time: forward.gif, and q_sample.png at 20 times."""
    rows = np.unique(np.linspace(0, dataset.size - 1, min(num, dataset.size)).round().astype(int))
    batch = dataset.examples(rows)
    x0 = batch["x"].astype(np.float32)
    x0 = jnp.asarray(x0 / 127.5 - 1 if facts.kind == "image" else x0)
    eps = jax.random.normal(jax.random.key(0), x0.shape)
    last = float(schedule.start.t)
    times = np.concatenate([[float(schedule.end.t)], np.linspace(0, last, _FRAMES - 1)])
    whole = hasattr(schedule, "num_steps")
    times = np.unique(times.round() if whole else times)
    states = np.stack([gaussian.q_sample(x0, eps, schedule.at(float(t))) for t in times])
    label = batch.get("label")
    _animation(folder / "forward.gif", states, times, label, facts)
    chosen = np.linspace(0, len(times) - 1, min(_STRIP, len(times))).round().astype(int)
    if facts.kind == "image":
        picture = plotting.strip(states[:, :8], count=_STRIP)
    else:
        clouds = facts.coordinates(states[chosen])
        picture = plotting.points_strip(clouds, [_time(times[i]) for i in chosen], labels=label)
    plotting.save_image(folder / "q_sample.png", picture)


def _animation(path, states, times, label, facts: Facts) -> None:
    if facts.kind == "image":
        frames = [plotting.image_grid(state, min_width=256) for state in states]
        plotting.save_gif(path, frames)
    else:
        clouds = facts.coordinates(states)
        plotting.points_gif(path, clouds, [_time(t) for t in times], labels=label)


def _picture(x: np.ndarray, label: np.ndarray | None, facts: Facts) -> np.ndarray:
    if facts.kind == "image":
        return plotting.image_grid(x)
    return plotting.scatter(facts.coordinates(x), labels=label)


def _time(t: float) -> str:
    return "data" if t < 0 else f"t = {t:.4g}"
