"""Sets of vectors in the plane, one in space, drawn on the spot: nothing is downloaded."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diffax.data import order
from diffax.data.dataset import Dataset
from diffax.data.options import check_split
from diffax.data.source import Batch, Source, columns
from diffax.nearest import nearest

MOST = 100_000_000  # vectors of a fixed set
_FRESH_KEPT = 10_000  # of a set without end: those that `examples` and `arrays` give
_REFERENCE = (100_000, 20_200_619)  # vectors and seed of the draw that fixes mean and std
_TEST_SEED = 2**31  # a test set's seed is the train set's plus this: never one of the same run


@dataclass(frozen=True)
class Toy:
    """A set in the plane, float32 [2] (s_curve_3d: [3]), in its own coordinates.

    Its mean and standard deviation (`Spec.mean`, `Spec.std`) come from one large fixed draw, so
    they are the same for every seed, split and number of vectors.

    Example:
        >>> dataset = Toy("moons", num=100).load()
        >>> dataset.batch(0, seed=0, batch_size=4)["x"].shape, dataset.spec.class_names
        ((4, 2), ('upper', 'lower'))
    """

    name: str = "s_curve"
    """s_curve, s_curve_3d, swiss_roll, moons, circles, blobs, checkerboard or spiral."""

    num: int = 10_000
    """How many vectors are drawn; 0: fresh ones at every step."""

    noise: float | None = None
    """Standard deviation of the noise on each coordinate, >= 0. None: the set's own default."""

    seed: int = 0
    """Of the fixed set, 0 to 2**32 - 1."""

    labels: bool = True
    """Give the class of every vector, where the set has classes."""

    split: Literal["train", "test"] = "train"
    """train, or test: a fresh draw."""

    def __post_init__(self) -> None:
        """Checks every value."""
        if self.name not in TOYS:
            raise ValueError(f"no toy set is called {self.name!r}; {nearest(self.name, TOYS)}")
        if not 0 <= self.num <= MOST:
            raise ValueError(
                f"data.num must be 0 (fresh vectors at every step) to {MOST:,}, got {self.num}"
            )
        if self.noise is not None and not (math.isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"data.noise must be a finite number >= 0, got {self.noise}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"data.seed must be 0 to 2**32 - 1, got {self.seed}")
        check_split(self.split, ("train", "test"))

    def load(self) -> Dataset:
        """Draws the fixed set; of a set without end, the vectors that its previews show."""
        shift = _TEST_SEED if self.split == "test" else 0

        def fresh(seed: int, step: int, count: int) -> Batch:
            return self._batch(count, order.fresh_state((seed + shift) % 2**64, step))

        fixed = self._batch(
            self.num or _FRESH_KEPT, np.random.RandomState((self.seed + shift) % 2**32)
        )
        mean, std = moments(self.name, self.noise)
        source = Source(
            columns=columns(fixed["x"].shape[1:], "float32", label="label" in fixed),
            size=len(fixed["x"]),
            read=lambda rows: {key: value[rows] for key, value in fixed.items()},
            fresh=None if self.num else fresh,
            class_names=TOYS[self.name].classes if self.labels else (),
            labels=fixed.get("label") if self.num else None,
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )
        return Dataset(f"{self.name} ({self.split})", source)

    def _batch(self, n: int, rng: np.random.RandomState) -> Batch:
        vectors, labels = _draw(self.name, n, rng, self.noise)
        batch = {"x": vectors.astype(np.float32)}
        return batch | {"label": labels} if self.labels and labels is not None else batch


Drawn = tuple[np.ndarray, np.ndarray | None]  # vectors and labels
Draw = Callable[[int, float, np.random.RandomState], Drawn]


@dataclass(frozen=True)
class Family:
    """How a set is drawn, its usual noise, and its classes, if it has any."""

    draw: Draw
    noise: float
    classes: tuple[str, ...] = ()


def _generators() -> Any:
    """scikit-learn's, which is slow to import: only where they are needed."""
    from sklearn import datasets

    return datasets


def _s_curve(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    vectors, _ = _generators().make_s_curve(n, noise=noise, random_state=rng)
    return vectors[:, [0, 2]], None


def _s_curve_3d(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    return _generators().make_s_curve(n, noise=noise, random_state=rng)[0], None


def _swiss_roll(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    vectors, _ = _generators().make_swiss_roll(n, noise=noise, random_state=rng)
    return vectors[:, [0, 2]], None


def _moons(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    return _generators().make_moons(n, noise=noise, random_state=rng)


def _circles(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    return _generators().make_circles(n, noise=noise, factor=0.5, random_state=rng)


def _blobs(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    angles = np.arange(8) * (2 * np.pi / 8)
    centers = 4.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    made = _generators().make_blobs(n, centers=centers, cluster_std=noise, random_state=rng)
    return made[0], made[1]


def _checkerboard(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    # 4 x 4 squares of side 1 centred on the origin; the 8 whose column + row is even are filled.
    square = rng.randint(8, size=n)
    row = square // 2
    column = 2 * (square % 2) + row % 2
    vectors = np.stack([column, row], axis=1) + rng.uniform(size=(n, 2)) - 2.0
    return vectors + noise * rng.standard_normal((n, 2)), None


def _spiral(n: int, noise: float, rng: np.random.RandomState) -> Drawn:
    # Two arms of an Archimedean spiral, 1.5 turns each; the root spreads vectors along the arm.
    arm = rng.randint(2, size=n)
    angle = 3.0 * np.pi * np.sqrt(rng.uniform(size=n))
    radius = angle * np.where(arm == 0, 1.0, -1.0)
    vectors = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return vectors + noise * rng.standard_normal((n, 2)), arm


TOYS: dict[str, Family] = {
    "s_curve": Family(_s_curve, 0.1),
    "s_curve_3d": Family(_s_curve_3d, 0.1),
    "swiss_roll": Family(_swiss_roll, 0.5),
    "moons": Family(_moons, 0.05, ("upper", "lower")),
    "circles": Family(_circles, 0.05, ("outer", "inner")),
    "blobs": Family(_blobs, 0.3, tuple(f"blob {i}" for i in range(8))),
    "checkerboard": Family(_checkerboard, 0.0),
    "spiral": Family(_spiral, 0.2, ("first arm", "second arm")),
}


def draw(name: str, n: int, seed: int, noise: float | None = None) -> Drawn:
    """Draws vectors in the set's own coordinates, before any scaling.

    Args:
        name: one of `TOYS`. For s_curve: the coordinates x and z of scikit-learn's `make_s_curve`
            with `random_state=seed`.
        n: how many, >= 1.
        seed: 0 to 2**32 - 1; another seed gives a fresh draw, for instance for evaluation.
        noise: standard deviation on each coordinate; None: the set's own.

    Returns:
        vectors float64 [n, 2] (s_curve_3d: [n, 3]), and labels int32 [n] or None where the set has
        no classes.

    Example:
        >>> from diffax.data import toy
        >>> vectors, labels = toy.draw("moons", 100, seed=7)
        >>> vectors.shape, labels.shape
        ((100, 2), (100,))
    """
    if n < 1:
        raise ValueError(f"expected at least one vector, got n = {n}")
    return _draw(name, n, np.random.RandomState(seed), noise)


def _draw(name: str, n: int, rng: np.random.RandomState, noise: float | None) -> Drawn:
    family = TOYS[name]
    vectors, labels = family.draw(n, family.noise if noise is None else noise, rng)
    return vectors, None if labels is None else labels.astype(np.int32)


@functools.lru_cache(maxsize=32)
def moments(name: str, noise: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a set's coordinates, from one large fixed draw.

    Returns:
        (mean, std), float64 [D] each: the same for every seed and every number of vectors, so
        that fresh vectors are scaled as the training set is.
    """
    n, seed = _REFERENCE
    vectors, _ = draw(name, n, seed, noise)
    return vectors.mean(0), vectors.std(0)
