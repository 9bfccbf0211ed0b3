"""The images that a run leaves behind."""

from __future__ import annotations

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from diffax import plotting
from diffax.codecs import is_written
from diffax.data import Dataset
from diffax.generation import Model, Samples

_PATH_BYTES = 256 * 2**20  # a denoising path larger than this is not kept
_SMALL = 32 * 32 * 3  # numbers in an example up to which a run leaves animations
_STRIP = 20  # moments side by side
_MOVING = 36  # images in an animation, at most


def keeps_path(model: Model, num: int) -> bool:
    """Whether all states of a sampling fit in memory without a thought."""
    return 4 * model.settings.steps * num * math.prod(model.shape) <= _PATH_BYTES


def can_be_animated(model: Model) -> bool:
    """Whether animations are cheap: small images or vectors, and no autoencoder to run."""
    vectors = len(model.shape) == 1 and not is_written(model.codec)
    return (
        (model.makes_images or vectors) and math.prod(model.shape) <= _SMALL and model.factor == 1
    )


def grid(samples: Samples) -> np.ndarray | None:
    """Samples as one image, with what each was told; None for data that nobody can look at."""
    return plotting.drawn(
        np.asarray(samples.data), samples.codec, labels=samples.label, captions=samples.captions
    )


def strip(model: Model, samples: Samples) -> np.ndarray | None:
    """How samples came about, time from left to right; None without their paths."""
    if samples.states is None or not can_be_animated(model):
        return None
    names = _moments(samples)
    if _is_image(samples.states[0]):
        images = _decoded(model, samples.states[:, :8])
        return plotting.strip(images, count=_STRIP // 2, titles=names)
    chosen = plotting.evenly_spaced(len(samples.states), _STRIP)
    clouds = _decoded(model, samples.states[chosen])
    if clouds.ndim != 3:
        return None
    return plotting.scatter_strip(clouds, [names[i] for i in chosen], labels=samples.label)


def reverse_animation(path: Path, model: Model, samples: Samples, frames: int) -> None:
    """Writes the denoising, from pure noise on, as a GIF of so many frames at most."""
    if samples.states is None or samples.times is None:
        raise ValueError("an animation needs every state: generate(..., trajectory=True)")
    chosen = plotting.evenly_spaced(len(samples.states), frames)
    names = _moments(samples)
    titles = [names[i] for i in chosen]
    _animation(path, model, samples.states[chosen], titles, samples.label)


def forward_images(
    folder: Path,
    dataset: Dataset,
    model: Model,
    *,
    num: int,
    frames: int,
    strip_times: tuple[float, ...],
) -> None:
    """Writes q(x_t) over time: forward.gif, and q_sample.png, at 20 times or at the given ones."""
    rows = plotting.evenly_spaced(dataset.spec.size, num)
    batch = dataset.examples(rows)
    x0 = model.codec.encode(jnp.asarray(batch["x"]))
    noise = np.random.default_rng(0).standard_normal(x0.shape, np.float32)
    schedule = model.schedule
    last = float(schedule.start.t)
    times = np.concatenate([[float(schedule.end.t)], np.linspace(0, last, frames - 1)])
    whole = hasattr(schedule, "num_steps")
    times = np.unique(times.round() if whole else times)

    def states_at(times: np.ndarray) -> np.ndarray:
        points = [schedule.at(float(t)) for t in times]
        return np.stack([model.process.noised(x0, noise, point) for point in points])

    states, label = states_at(times), batch.get("label")
    titles = ["data", *(_time(t) for t in times[1:])]
    _animation(folder / "forward.gif", model, states, titles, label)
    if strip_times:
        states, titles = states_at(np.array(strip_times)), [_time(t) for t in strip_times]
    if _is_image(states[0]):
        count = len(strip_times) or _STRIP
        image = plotting.strip(_decoded(model, states[:, :8]), count=count, titles=titles)
    else:
        chosen = plotting.evenly_spaced(len(states), len(strip_times) or _STRIP)
        clouds = _decoded(model, states[chosen])
        image = plotting.scatter_strip(clouds, [titles[i] for i in chosen], labels=label)
    plotting.save_image(folder / "q_sample.png", image)


def _animation(
    path: Path, model: Model, states: np.ndarray, titles: list[str], label: np.ndarray | None
) -> None:
    if _is_image(states[0]):
        shown = zip(_decoded(model, states[:, :_MOVING]), titles, strict=True)
        frames = [plotting.image_grid(x, min_width=192, title=title) for x, title in shown]
        plotting.save_gif(path, frames)
    else:
        plotting.scatter_gif(path, _decoded(model, states), titles, labels=label)


def _decoded(model: Model, states: np.ndarray) -> np.ndarray:
    """States [K, N, ...] in the data's own coordinates."""
    flat = states.reshape(-1, *states.shape[2:])
    return np.asarray(model.codec.decode(jnp.asarray(flat))).reshape(states.shape)


def _is_image(data: np.ndarray) -> bool:
    return data.ndim == 4 and data.shape[-1] in (1, 3)


def _moments(samples: Samples) -> list[str]:
    """What each state of a denoising is: noise, a time, and in the end the sample."""
    assert samples.times is not None  # it comes with the states
    return ["noise", *(_time(t) for t in samples.times[1:-1]), "sample"]


def _time(t: float) -> str:
    return f"t = {t:.4g}"
