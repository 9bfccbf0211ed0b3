"""Two-dimensional sets of points, drawn on the spot: nothing is downloaded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import datasets as sk

from diffax.data import order
from diffax.data.config import DataConfig
from diffax.data.source import Source

Draw = Callable[[int, float, np.random.RandomState], tuple[np.ndarray, np.ndarray | None]]
_REFERENCE = (100_000, 20_200_619)  # points and seed of the draw that fixes mean and deviation
_TEST_SEED = 2**31  # a test set's seed is the train set's plus this: never one of the same run


@dataclass(frozen=True)
class Toy:
    """A toy set: how it is drawn, its usual noise, and its classes, if it has any."""

    draw: Draw
    noise: float
    classes: tuple[str, ...] = ()


def _s_curve(n, noise, rng):
    points, _ = sk.make_s_curve(n, noise=noise, random_state=rng)
    return points[:, [0, 2]], None


def _swiss_roll(n, noise, rng):
    points, _ = sk.make_swiss_roll(n, noise=noise, random_state=rng)
    return points[:, [0, 2]], None


def _moons(n, noise, rng):
    return sk.make_moons(n, noise=noise, random_state=rng)


def _circles(n, noise, rng):
    return sk.make_circles(n, noise=noise, factor=0.5, random_state=rng)


def _blobs(n, noise, rng):
    angles = np.arange(8) * (2 * np.pi / 8)
    centers = 4.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return sk.make_blobs(n, centers=centers, cluster_std=noise, random_state=rng)


def _checkerboard(n, noise, rng):
    # 4 x 4 squares of side 1 centred on the origin; the 8 whose column + row is even are filled.
    square = rng.randint(8, size=n)
    row = square // 2
    column = 2 * (square % 2) + row % 2
    points = np.stack([column, row], axis=1) + rng.uniform(size=(n, 2)) - 2.0
    return points + noise * rng.standard_normal((n, 2)), None


def _spiral(n, noise, rng):
    # Two arms of an Archimedean spiral, 1.5 turns each; the root spreads points along the arm.
    arm = rng.randint(2, size=n)
    angle = 3.0 * np.pi * np.sqrt(rng.uniform(size=n))
    radius = angle * np.where(arm == 0, 1.0, -1.0)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points + noise * rng.standard_normal((n, 2)), arm


TOYS: dict[str, Toy] = {
    "s_curve": Toy(_s_curve, 0.1),
    "swiss_roll": Toy(_swiss_roll, 0.5),
    "moons": Toy(_moons, 0.05, ("upper", "lower")),
    "circles": Toy(_circles, 0.05, ("outer", "inner")),
    "blobs": Toy(_blobs, 0.3, tuple(f"blob {i}" for i in range(8))),
    "checkerboard": Toy(_checkerboard, 0.0),
    "spiral": Toy(_spiral, 0.2, ("first arm", "second arm")),
}


def draw(
    name: str, n: int, seed: int, noise: float | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draws points in the set's own coordinates, before any scaling.

    Args:
        name: one of `TOYS`. For s_curve: the coordinates x and z of scikit-learn's `make_s_curve`
            with `random_state=seed`.
        n: how many, >= 1.
        seed: 0 to 2**32 - 1; another seed gives a fresh draw, for instance for evaluation.
        noise: standard deviation on each coordinate; None: the set's own.

    Returns:
        points float64 [n, 2], and labels int32 [n] or None where the set has no classes.

    Example:
        >>> from diffax.data import toy
        >>> points, labels = toy.draw("moons", 100, seed=7)
        >>> points.shape, labels.shape
        ((100, 2), (100,))
    """
    if n < 1:
        raise ValueError(f"expected at least one point, got n = {n}")
    return _draw(name, n, np.random.RandomState(seed), noise)


def _draw(name, n, rng, noise):
    toy = TOYS[name]
    points, labels = toy.draw(n, toy.noise if noise is None else noise, rng)
    return points, None if labels is None else labels.astype(np.int32)


@functools.lru_cache(maxsize=32)
def moments(name: str, noise: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a set's coordinates, from one large fixed draw.

    Returns:
        (mean, deviation), float64 [2] each: the same for every seed and every number of points,
        so that fresh points land in the same model space as the training set.
    """
    n, seed = _REFERENCE
    points, _ = draw(name, n, seed, noise)
    return points.mean(0), points.std(0)


def load(config: DataConfig) -> Source:
    """The source of a toy set: a fixed set of points, or fresh ones at every step."""
    if config.split not in ("train", "test"):
        raise ValueError(
            f"{config.name} has the splits train and test (a fresh draw), got {config.split!r}"
        )
    if config.divisor is None:
        mean, deviation = moments(config.name, config.noise)
    else:
        mean, deviation = np.zeros(2), np.full(2, config.divisor)
    classes = TOYS[config.name].classes

    def model_space(points, labels):
        batch = {"x": ((points - mean) / deviation).astype(np.float32)}
        return batch if labels is None else batch | {"label": labels}

    def fresh(seed, step, count):
        rng = order.points_state(seed + (_TEST_SEED if config.split == "test" else 0), step)
        return model_space(*_draw(config.name, count, rng, config.noise))

    seed = (config.data_seed + (_TEST_SEED if config.split == "test" else 0)) % 2**32
    fixed = model_space(*draw(config.name, config.points or 10_000, seed, config.noise))
    return Source(
        kind="points",
        shape=(2,),
        size=len(fixed["x"]),
        read=lambda rows: {key: value[rows] for key, value in fixed.items()},
        fresh=None if config.points else fresh,
        classes=classes,
        labels=fixed.get("label"),
        mean=mean,
        deviation=deviation,
    )
