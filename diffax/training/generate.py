"""The config's `sample` section, and samples drawn the way it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils

from diffax import guidance, sampling
from diffax.denoiser import Denoiser, Network
from diffax.noun import noun
from diffax.parameterization import Parameterization
from diffax.sampling import check_combination, editing
from diffax.schedules import Schedule
from diffax.solvers import Solver, initial_noise, registry, sample_keys


@dataclass(frozen=True)
class SampleConfig:
    """How samples are drawn, while training and by default afterwards."""

    sampler: str = "ddim"
    """Name of a solver, as in `diffax.solvers.registry`."""
    steps: int = 50
    """Intervals of the time grid."""
    eta: float = 0.0
    """For solvers that take it: 0 deterministic, 1 as noisy as ddpm."""
    variance: Literal["fixed_small", "fixed_large", "learned", "learned_range"] = "fixed_large"
    """For ddpm: of the reverse step."""
    spacing: str = "trailing"
    """Where the grid's times are placed."""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1: none."""
    clip: float | None = 1.0
    """Largest magnitude of the guessed clean data; None: as guessed (for points)."""
    num: int = 64
    """Samples in the grids made while training."""
    batch_size: int = 256
    """Samples drawn at once, at most."""
    seed: int = 0
    """Sample i depends on (seed, i) only."""

    def __post_init__(self) -> None:
        """Checks every number that can be judged without the schedule."""
        for name in ("steps", "num", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"sample.{name} must be >= 1, got {getattr(self, name)}")
        if self.eta < 0:
            raise ValueError(f"sample.eta must be >= 0, got {self.eta}")
        if self.seed < 0:
            raise ValueError(f"sample.seed must be >= 0, got {self.seed}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"sample.clip must be > 0 or None, got {self.clip}")

    def solver(self, schedule: Schedule) -> Solver:
        """How a step of the reverse process is made.

        Raises:
            ValueError: an unknown sampler, or an option that it does not take.
        """
        known = registry.lookup(self.sampler).options
        given = {"eta": self.eta} if "eta" in known else {}
        if "variance" in known:
            given["variance"] = self.variance
        if self.eta and "eta" not in known:
            raise ValueError(f"sample.eta has no meaning for {self.sampler}; leave it at 0")
        check_combination(
            self.sampler, schedule, steps=self.steps, options=given, spacing=self.spacing
        )
        return registry.build(self.sampler, schedule, **given)

    def grid(self, schedule: Schedule) -> Any:
        """The time grid on a schedule.

        Raises:
            ValueError: more steps than the schedule has, or a spacing it does not know.
        """
        return sampling.time_grid(schedule, self.steps, self.spacing)


def denoiser(
    apply: Callable[..., Array],
    params: Any,
    condition: Any,
    parameterization: Parameterization,
    config: SampleConfig,
    *,
    null: Any = None,
) -> Denoiser:
    """A network, guided and clipped as the config says.

    Args:
        apply: `(params, x, t, condition) -> output`.
        params: its parameters.
        condition: {"label": int `[B]`}, or {}.
        parameterization: what the output means.
        config: gives the guidance scale and the limit of x0.
        null: the condition that means none, for guidance.
    """
    guess = Network(apply, params, condition, parameterization)
    if config.guidance != 1 and condition:
        guess = guidance.ClassifierFree(guess, null=null, scale=config.guidance)
    return guess if config.clip is None else guidance.Clip(guess, config.clip)


@dataclass(frozen=True)
class Samples:
    """What was drawn.

    Attributes:
        x: float32 [N, H, W, C] in about [-1, 1], or [N, D] in model space.
        label: int32 [N], or None for a model without classes.
        path: with `trajectory`, every state: float32 [S, N, ...]; else None.
    """

    x: np.ndarray
    label: np.ndarray | None = None
    path: np.ndarray | None = None

    @property
    def images(self) -> np.ndarray:
        """The samples as uint8 [N, H, W, C], rounded to the nearest grey level."""
        return np.rint((np.clip(self.x, -1, 1) + 1) * 127.5).astype(np.uint8)


@noun
class Edit:
    """A picture that samples start from, and what of it stays.

    Attributes:
        known: float32 [H, W, C] in [-1, 1].
        strength: share of the path that is run, in (0, 1]; 1 starts from pure noise.
        keep: float32 [H, W, 1], 1 where the picture stays and 0 where it is made anew; None: all
            of it may change.
    """

    known: np.ndarray
    strength: float = 1.0
    keep: np.ndarray | None = None


def generate(
    apply: Callable[..., Array],
    params: Any,
    schedule: Schedule,
    parameterization: Parameterization,
    config: SampleConfig,
    shape: tuple[int, ...],
    *,
    num: int | None = None,
    num_classes: int = 0,
    labels: np.ndarray | None = None,
    seed: int | None = None,
    edit: Edit | None = None,
    trajectory: bool = False,
    on_step: Callable[..., None] | None = None,
) -> Samples:
    """Draws samples: the same for (seed, i) whatever their number and the batch size.

    Args:
        apply: the network.
        params: its parameters, on one device or spread over many.
        schedule: the noise schedule.
        parameterization: what the network was asked for.
        config: sampler, steps, guidance, batch size, and defaults for `num` and `seed`.
        shape: of one sample.
        num: how many samples.
        num_classes: of the model; 0 without classes.
        labels: int [num]; None: all classes in turn.
        seed: a whole number >= 0.
        edit: start from a picture (image-to-image), or make a part of it anew (inpainting).
        trajectory: keep every state: mind the memory.
        on_step: called on the host after every step of every batch, see `diffax.sample`.

    Raises:
        ValueError: labels for a model without classes, or not one a sample, or out of range.
    """
    num = config.num if num is None else num
    seed = config.seed if seed is None else seed
    if num < 1:
        raise ValueError(f"expected at least one sample, got num = {num}")
    labels = _labels(labels, num, num_classes)
    size = min(num, config.batch_size)
    # As NumPy arrays these go to every device that the parameters live on.
    solver, grid = config.solver(schedule), config.grid(schedule)
    if edit is not None and edit.strength < 1:
        grid = editing.shortened(schedule, grid, edit.strength)
    solver, grid, edit = jax.device_get((solver, grid, edit))
    xs, paths = [], []
    for start in range(0, num, size):
        # A short last batch is filled up, so that it runs the same program.
        rows = np.minimum(np.arange(start, start + size), num - 1)
        condition = {} if labels is None else {"label": labels[rows]}
        guess = denoiser(
            apply,
            params,
            condition,
            parameterization,
            config,
            null={} if labels is None else {"label": np.int32(num_classes)},
        )
        x, path = _draw(
            guess,
            solver,
            grid,
            edit,
            np.uint32(seed),
            np.int32(start),
            size=size,
            shape=shape,
            trajectory=trajectory,
            on_step=on_step,
        )
        count = min(size, num - start)
        xs.append(_to_host(x)[:count])
        if trajectory:
            paths.append(_to_host(path)[:, :count])
    return Samples(
        np.concatenate(xs), labels, np.concatenate(paths, axis=1) if trajectory else None
    )


def _labels(labels: np.ndarray | None, num: int, num_classes: int) -> np.ndarray | None:
    if labels is None:
        return None if not num_classes else (np.arange(num) % num_classes).astype(np.int32)
    if not num_classes:
        raise ValueError("this model knows no classes; leave the label out")
    labels = np.broadcast_to(np.asarray(labels, np.int32), (num,))
    if labels.min() < 0 or labels.max() > num_classes:
        raise ValueError(
            f"labels must lie in 0 to {num_classes - 1} ({num_classes}: none), "
            f"got {labels.min()} to {labels.max()}"
        )
    return labels


@partial(jax.jit, static_argnames=("size", "shape", "trajectory", "on_step"))
def _draw(denoiser, solver, grid, edit, seed, start, *, size, shape, trajectory, on_step):
    keys = sample_keys(jax.random.key(seed), size, start)
    x = initial_noise(keys, shape, grid[0])
    if edit is not None:
        known = jnp.broadcast_to(edit.known, x.shape)
        # At strength 1 the grid starts in noise, and this is that noise.
        x = jnp.where(edit.strength < 1, editing.noised(known, grid, keys), x)
        if edit.keep is not None:
            solver = editing.Inpainting(solver, known, edit.keep[None])
    drawn = sampling.sample(denoiser, solver, grid, x, keys, trajectory, on_step)
    return drawn if trajectory else (drawn, None)


def _to_host(x: Array) -> np.ndarray:
    if x.is_fully_addressable:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)
