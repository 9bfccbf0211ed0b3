"""The config's `optimizer` section, and the optax transformation it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer of optax by name, with its learning rate over time."""

    name: Literal["adam", "adamw", "lion", "adafactor", "muon", "sgd"] = "adam"
    """Muon takes the matrices, and Adam everything else."""
    learning_rate: float = 2e-4
    """The highest it gets."""
    b1: float = 0.9
    """First-moment decay; momentum for muon and sgd."""
    b2: float = 0.999
    """Second-moment decay."""
    eps: float = 1e-8
    weight_decay: float = 0.0
    """Decoupled, for adamw, lion, adafactor and muon."""
    clip: float | None = 1.0
    """Largest global norm of the gradient; None: as it comes."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    warmup_images: int = 0
    """The same, in images (EDM's ramp-up: 10,000,000); instead of warmup_steps."""
    decay: Literal["constant", "cosine", "inverse_sqrt"] = "constant"
    """What follows the warm-up."""
    decay_steps: int | None = None
    """For cosine: the step at which the end is reached (None: train.steps). For inverse_sqrt: the
    step at which the decay begins (Karras et al. 2024, eq. 67: t_ref)."""
    final_fraction: float = 0.0
    """For cosine: what is left of the learning rate at the end."""

    def __post_init__(self) -> None:
        """Checks every number."""
        if not self.learning_rate > 0:
            raise ValueError(f"optimizer.learning_rate must be > 0, got {self.learning_rate}")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optimizer.{name} must lie in [0, 1), got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_steps", "warmup_images", "eps"):
            if getattr(self, name) < 0:
                raise ValueError(f"optimizer.{name} must be >= 0, got {getattr(self, name)}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"optimizer.clip must be > 0 or None, got {self.clip}")
        if self.warmup_steps and self.warmup_images:
            raise ValueError("give optimizer.warmup_steps or optimizer.warmup_images, not both")
        if self.weight_decay and self.name in ("adam", "sgd"):
            raise ValueError(
                f"optimizer.weight_decay has no meaning for {self.name!r}; use adamw, or leave it 0"
            )
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(
                f"optimizer.final_fraction must lie in 0 to 1, got {self.final_fraction}"
            )
        if self.decay_steps is not None and self.decay_steps < 1:
            raise ValueError(f"optimizer.decay_steps must be >= 1, got {self.decay_steps}")
        if self.decay == "inverse_sqrt" and self.decay_steps is None:
            raise ValueError("optimizer.decay=inverse_sqrt needs optimizer.decay_steps")

    def learning_rate_at(self, step: ArrayLike, *, steps: int, batch_size: int) -> Array:
        """The learning rate of a step, float32.

        Args:
            step: 0, 1, 2, ...
            steps: of the whole run.
            batch_size: for a warm-up told in images.
        """
        step = jnp.asarray(step, jnp.float32)
        warmup = self.warmup_steps or self.warmup_images / batch_size
        rate = jnp.float32(self.learning_rate)
        if self.decay == "cosine":
            length = max((self.decay_steps or steps) - warmup, 1)
            progress = jnp.clip((step - warmup) / length, 0, 1)
            low = self.final_fraction
            rate = rate * (low + (1 - low) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
        elif self.decay == "inverse_sqrt":
            rate = rate / jnp.sqrt(jnp.maximum(step / self.decay_steps, 1))
        # The first step learns something too: the ramp's first value is 1 / warmup.
        return rate * jnp.minimum((step + 1) / max(warmup, 1), 1)

    def build(self, *, steps: int, batch_size: int) -> optax.GradientTransformation:
        """The optimizer: clipping, then the update of the chosen kind.

        Args:
            steps: of the whole run.
            batch_size: of a step.
        """

        def rate(step):
            return self.learning_rate_at(step, steps=steps, batch_size=batch_size)

        moments = {"b1": self.b1, "b2": self.b2}
        decay = {"weight_decay": self.weight_decay}
        if self.name == "adam":
            update = optax.adam(rate, eps=self.eps, **moments)
        elif self.name == "adamw":
            update = optax.adamw(rate, eps=self.eps, **moments, **decay)
        elif self.name == "lion":
            update = optax.lion(rate, **moments, **decay)
        elif self.name == "adafactor":
            update = optax.adafactor(
                rate,
                multiply_by_parameter_scale=False,
                weight_decay_rate=self.weight_decay or None,
            )
        elif self.name == "muon":
            update = optax.contrib.muon(
                rate, beta=self.b1, adam_b1=self.b1, adam_b2=self.b2, eps=self.eps, **decay
            )
        else:
            update = optax.sgd(rate, momentum=self.b1 or None)
        clip = optax.identity() if self.clip is None else optax.clip_by_global_norm(self.clip)
        return optax.chain(clip, update)
