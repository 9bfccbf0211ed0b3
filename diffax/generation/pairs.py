"""Samples beside the noise they were made from: what reflow learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffax import atomic
from diffax.generation.generate import generate
from diffax.generation.model import Model
from diffax.generation.request import Request
from diffax.solvers import initial_noise, sample_keys


def save_pairs(model: Model, path: str | Path, *, num: int, seed: int = 0, **options: Any) -> None:
    """Draws samples by a deterministic solver and writes them with their noise (Liu et al. 2023).

    Args:
        model: a run's or a published one; its flow is what is straightened.
        path: of the .npz file, `x`, `noise` and, with classes, `label`; see `diffax.data.Pairs`.
        num: of pairs.
        seed: of the noise.
        **options: of the request, such as `steps=50`, `sampler="flow_heun"` or `guidance=2`.

    Raises:
        ValueError: a solver that adds noise: its samples do not belong to their noise.

    Example:
        >>> from diffax.training import load_run
        >>> save_pairs(load_run("runs/flow"), "pairs.npz", num=10_000)  # doctest: +SKIP
    """
    request = Request.of(**options)
    solver = model.settings.plan(model.schedule, model.parameterization, request).solver
    if solver.description.is_stochastic(solver):
        raise ValueError(
            f"pairs need a solver without noise of its own, {type(solver).__name__} has some; ask "
            "for sampler='ddim' or 'flow_heun'"
        )
    draw = jax.jit(initial_noise, static_argnums=1)
    noise = np.asarray(draw(sample_keys(seed, num), model.shape))
    samples = generate(model, num=num, noise=noise, decode=False, **options)
    arrays = {"x": np.asarray(samples.x, np.float32), "noise": noise}
    if "label" in samples.told:
        arrays["label"] = np.asarray(samples.told["label"], np.int32)
    atomic.write(path, lambda file: np.savez(file, **arrays))
