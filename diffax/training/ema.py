"""Exponential moving averages of the parameters: a family of them, and any width afterwards.

Three kinds, all `average = beta average + (1 - beta) params` with a beta of their own:

* a constant decay, warmed up as `min(decay, (1 + n) / (10 + n))`;
* a half-life in images, at most a share of the images seen so far (Karras et al. 2022);
* a power function of time, `beta = (1 - 1/n)^(gamma + 1)` (Karras et al. 2024, section 3.1), from
  whose snapshots an average of any other width can be put together after training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_RAMP = 0.05


@dataclass(frozen=True)
class EMAConfig:
    """Which averages a run keeps. The first one is what samples are drawn from."""

    decays: tuple[float, ...] = (0.9999,)
    """Constant decays; named `decay_0.9999`."""
    warmup: bool = True
    """Let early averages forget faster: min(decay, (1 + n) / (10 + n)) at the n-th step."""
    half_lives: tuple[float, ...] = ()
    """Half-lives in images; named `half_life_500000`."""
    copy_until: int = 0
    """Steps over which every average is a copy of the parameters."""
    ramp: float | None = _RAMP
    """A half-life is at most this share of the images seen so far; None: the same all along."""
    widths: tuple[float, ...] = ()
    """Relative standard deviations sigma_rel, below 0.28, of power-function averages; named
    `power_0.05`. Keep two, and checkpoints (train.keep_every), to build other widths later."""

    def __post_init__(self) -> None:
        """Checks every number."""
        for decay in self.decays:
            if not 0 <= decay < 1:
                raise ValueError(f"ema.decays must lie in [0, 1), got {decay}")
        for half_life in self.half_lives:
            if not half_life > 0:
                raise ValueError(f"ema.half_lives must be > 0 images, got {half_life}")
        for width in self.widths:
            power_exponent(width)
        if self.copy_until < 0:
            raise ValueError(f"ema.copy_until must be >= 0 steps, got {self.copy_until}")
        if self.ramp is not None and not self.ramp > 0:
            raise ValueError(f"ema.ramp must be > 0 or None, got {self.ramp}")
        if self.ramp != _RAMP and not self.half_lives:
            raise ValueError(
                f"ema.ramp {self.ramp} is of half-lives, and there are none; set ema.half_lives"
            )
        if not self.warmup and not self.decays:
            raise ValueError(
                "ema.warmup False is of constant decays, and there are none; leave it out"
            )
        if self.copy_until and not self.names:
            raise ValueError(
                f"ema.copy_until {self.copy_until} is of averages, and there are none; set "
                "ema.decays, ema.half_lives or ema.widths, too"
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"every average must differ from the others, got {self.names}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all averages; the first is the default one."""
        return (
            *(f"decay_{decay:g}" for decay in self.decays),
            *(f"half_life_{half_life:.12g}" for half_life in self.half_lives),
            *(f"power_{width:g}" for width in self.widths),
        )

    def betas(self, step: Array, batch_size: int) -> dict[str, Array]:
        """How much of every average survives the update of a step.

        Args:
            step: number of the step, 0 for the first.
            batch_size: images a step.

        Returns:
            Name -> float32 scalar.
        """
        n = jnp.asarray(step, jnp.float32) + 1
        betas = []
        for decay in self.decays:
            betas.append(jnp.minimum(decay, (1 + n) / (10 + n)) if self.warmup else decay)
        for half_life in self.half_lives:
            ramped = jnp.float32(half_life)
            if self.ramp is not None:
                ramped = jnp.minimum(ramped, n * batch_size * self.ramp)
            betas.append(jnp.exp2(-batch_size / ramped))
        for width in self.widths:
            betas.append(power_beta(n, power_exponent(width)))
        begun = n > self.copy_until
        return {
            name: jnp.where(begun, jnp.float32(beta), 0.0)
            for name, beta in zip(self.names, betas, strict=True)
        }

    def init(self, params: Any) -> dict[str, Any]:
        """Every average at its start: the parameters themselves."""
        return {name: jax.tree.map(jnp.copy, params) for name in self.names}

    def update(
        self, averages: dict[str, Any], params: Any, step: Array, batch_size: int
    ) -> dict[str, Any]:
        """All averages after a step.

        Args:
            averages: name -> tree shaped like `params`.
            params: the parameters after the step.
            step: number of the step, 0 for the first.
            batch_size: images a step.
        """
        betas = self.betas(step, batch_size)
        return {
            name: jax.tree.map(lambda a, p, beta=betas[name]: p + beta * (a - p), average, params)
            for name, average in averages.items()
        }


# ---------------------------------------------------------------- power-function averages


def power_exponent(width: float) -> float:
    """Gamma of the power-function average with a given relative width (Karras et al. 2024, alg. 2).

    Args:
        width: sigma_rel, the standard deviation of the averaging profile as a share of the training
            time, in 0 to 1 / sqrt(12) (gamma = 0: the plain mean).

    Returns:
        The gamma >= 0 with `(gamma + 1)^0.5 / ((gamma + 2) (gamma + 3)^0.5) = sigma_rel`.
    """
    if not 0 < width <= 12**-0.5:
        raise ValueError(f"ema.widths must lie in (0, 0.288], got {width}")
    inverse = width**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return max(0.0, float(roots.real.max()))


def power_width(gamma: float) -> float:
    """Relative width of the average with exponent gamma (Karras et al. 2024, eq. 3)."""
    return float(np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))))


def power_beta(n: Array, gamma: float) -> Array:
    """`(1 - 1/n)^(gamma + 1)`, float32: 0 at the first step, n = 1 (Karras et al. 2024, eq. 2)."""
    # log1p keeps the digits that 1 - 1/n would round away after many steps.
    return jnp.where(n > 1, jnp.exp((gamma + 1) * jnp.log1p(-1 / jnp.maximum(n, 2))), 0.0)


def profile_products(
    t_a: np.ndarray, gamma_a: np.ndarray, t_b: np.ndarray, gamma_b: np.ndarray
) -> np.ndarray:
    """Inner products of power-function profiles (Karras et al. 2024, alg. 3), float64 [A, B].

    A profile is `(gamma + 1) t^gamma / T^(gamma + 1)` on [0, T] and 0 afterwards.

    Args:
        t_a, gamma_a: ends T and exponents of A profiles.
        t_b, gamma_b: of B profiles.
    """
    t_a, gamma_a = (np.asarray(v, np.float64)[:, None] for v in (t_a, gamma_a))
    t_b, gamma_b = (np.asarray(v, np.float64)[None, :] for v in (t_b, gamma_b))
    ratio = np.minimum(t_a, t_b) / np.maximum(t_a, t_b)
    # The profile that ends later is met only as far as the other one reaches.
    exponent = np.where(t_a < t_b, gamma_b, gamma_a)
    scale = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return scale * ratio**exponent / np.maximum(t_a, t_b)


def reconstruction_weights(
    steps: Sequence[float], gammas: Sequence[float], step: float, gamma: float
) -> np.ndarray:
    """Weights whose sum of snapshots best gives another average (Karras et al. 2024, section 3.2).

    Args:
        steps: of N snapshots.
        gammas: exponents of the averages they are of.
        step: at which the average is wanted, at most the last snapshot's.
        gamma: exponent of the average wanted.

    Returns:
        float64 [N], the least-squares fit of the profiles.

    Raises:
        ValueError: no snapshots, or none as late as `step`.
    """
    kept, powers = np.asarray(steps, np.float64), np.asarray(gammas, np.float64)
    if kept.size == 0 or step > kept.max():
        last = kept.max() if kept.size else "none"
        raise ValueError(
            f"expected snapshots up to step {step}, the latest is {last}; keep more checkpoints "
            "(train.keep_every) or ask for an earlier step"
        )
    gram = profile_products(kept, powers, kept, powers)
    wanted = profile_products(kept, powers, np.array([step]), np.array([gamma]))[:, 0]
    # Early profiles are tall and thin: with all of unit norm the equations are better conditioned.
    # Near neighbours stay nearly parallel, and the cut keeps their weights small.
    norm = np.sqrt(np.diag(gram))
    scaled = gram / norm[:, None] / norm
    return np.linalg.lstsq(scaled, wanted / norm, rcond=1e-12)[0] / norm
