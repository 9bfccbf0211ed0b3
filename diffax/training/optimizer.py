"""The recipe's `optimizer`, and the optax transformation it becomes."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from diffax.adapters.paths import matching
from diffax.objectives.objective import ASSIGNED
from diffax.training.norm import clip_by_norm
from diffax.training.transformation import Transformation
from diffax.training.unit_weights import unit_weights

Rate = Any  # step -> learning rate


def _in_range(name: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Refuses a number outside `[low, high)`; NaN and infinity always."""
    if value is not None and not (low <= value < high and math.isfinite(value)):
        limit = f"in [{low:g}, {high:g})" if high < math.inf else f">= {low:g} and finite"
        raise ValueError(f"optimizer.{name} must lie {limit}, got {value}")


# ---------------------------------------------------------------- methods


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015)."""

    b1: float = 0.9
    """Decay of the first moment, in [0, 1)."""
    b2: float = 0.999
    """Decay of the second moment, in [0, 1)."""
    eps: float = 1e-8
    """Keeps the division by the second moment finite, >= 0."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _in_range("b1", self.b1, 0, 1)
        _in_range("b2", self.b2, 0, 1)
        _in_range("eps", self.eps, 0)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.adam(rate, b1=self.b1, b2=self.b2, eps=self.eps)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    weight_decay: float = 1e-2
    """Decoupled weight decay, >= 0."""

    def __post_init__(self) -> None:
        """Checks every number."""
        super().__post_init__()
        _in_range("weight_decay", self.weight_decay, 0)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.adamw(
            rate, b1=self.b1, b2=self.b2, eps=self.eps, weight_decay=self.weight_decay
        )


@dataclass(frozen=True)
class Lion:
    """Lion (Chen et al. 2023)."""

    b1: float = 0.9
    """How much of the momentum counts beside the gradient in the update's sign, in [0, 1)."""
    b2: float = 0.99
    """Decay of the momentum, in [0, 1)."""
    weight_decay: float = 0.0
    """Decoupled weight decay, >= 0."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _in_range("b1", self.b1, 0, 1)
        _in_range("b2", self.b2, 0, 1)
        _in_range("weight_decay", self.weight_decay, 0)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.lion(rate, b1=self.b1, b2=self.b2, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Adafactor:
    """Adafactor (Shazeer & Stern 2018), without scaling by the parameters."""

    weight_decay: float = 0.0
    """Decoupled weight decay, >= 0."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _in_range("weight_decay", self.weight_decay, 0)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.adafactor(
            rate, multiply_by_parameter_scale=False, weight_decay_rate=self.weight_decay or None
        )


@dataclass(frozen=True)
class Muon:
    """Muon for the matrices (Jordan et al. 2024), and Adam for everything else."""

    momentum: float = 0.95
    """Decay of the matrices' momentum, in [0, 1)."""
    b1: float = 0.9
    """Adam's decay of the first moment, in [0, 1)."""
    b2: float = 0.999
    """Adam's decay of the second moment, in [0, 1)."""
    eps: float = 1e-8
    """Adam's: keeps the division by the second moment finite, >= 0."""
    weight_decay: float = 0.0
    """Decoupled weight decay, >= 0."""

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in ("momentum", "b1", "b2"):
            _in_range(name, getattr(self, name), 0, 1)
        _in_range("eps", self.eps, 0)
        _in_range("weight_decay", self.weight_decay, 0)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.contrib.muon(
            rate,
            beta=self.momentum,
            adam_b1=self.b1,
            adam_b2=self.b2,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    """Decay of the running sum of gradients, in [0, 1); 0: none."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _in_range("momentum", self.momentum, 0, 1)

    def build(self, rate: Rate) -> optax.GradientTransformation:
        """The update."""
        return optax.sgd(rate, momentum=self.momentum or None)


METHODS: dict[str, type] = {
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
    "adafactor": Adafactor,
    "muon": Muon,
    "sgd": SGD,
}


# ---------------------------------------------------------------- what follows the warm-up


@dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    def factor(self, step: Array, *, warmup: float, steps: int) -> ArrayLike:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine, down to a fraction (Loshchilov & Hutter 2017)."""

    steps: int | None = None
    """The step at which the end is reached; None: train.steps."""
    final_fraction: float = 0.0
    """What is left of the learning rate at the end, in [0, 1]."""

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(
                f"optimizer.decay.final_fraction must lie in 0 to 1, got {self.final_fraction}"
            )
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"optimizer.decay.steps must be >= 1, got {self.steps}")

    def factor(self, step: Array, *, warmup: float, steps: int) -> ArrayLike:
        """`low + (1 - low) (1 + cos(pi progress)) / 2`."""
        length = max((self.steps or steps) - warmup, 1)
        progress = jnp.clip((step - warmup) / length, 0, 1)
        low = self.final_fraction
        return low + (1 - low) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


@dataclass(frozen=True)
class InverseSqrt:
    """`1 / sqrt(max(step / start, 1))` (Karras et al. 2024, eq. 67: start is t_ref)."""

    start: int = 70_000
    """The step at which the decay begins, >= 1."""

    def __post_init__(self) -> None:
        """Checks every number."""
        if self.start < 1:
            raise ValueError(f"optimizer.decay.start must be >= 1, got {self.start}")

    def factor(self, step: Array, *, warmup: float, steps: int) -> ArrayLike:
        """See the class."""
        return 1 / jnp.sqrt(jnp.maximum(step / self.start, 1))


DECAYS: dict[str, type] = {"constant": Constant, "cosine": Cosine, "inverse_sqrt": InverseSqrt}


# ---------------------------------------------------------------- all together


@dataclass(frozen=True)
class Group:
    """Parameters with an optimizer of their own; they share clipping, warm-up and decay."""

    pattern: str = ""
    """A regular expression, searched for in names such as `conditioner/params/byte/embedding`."""
    learning_rate: float = 1e-4
    """The highest it gets, > 0."""
    method: Any = Adam()
    """Of these parameters."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_rate(self.learning_rate)


@dataclass(frozen=True)
class Optimizer:
    """A method of optax, with its learning rate over time."""

    method: Any = Adam()
    """adam, adamw, lion, adafactor, muon (takes the matrices, Adam the rest), sgd."""
    learning_rate: float = 2e-4
    """The highest it gets, > 0."""
    clip: float | None = 1.0
    """Largest global norm of the gradient, > 0; None: as it comes."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    warmup_images: int = 0
    """The same, in examples (EDM's ramp-up: 10,000,000); instead of warmup_steps."""
    decay: Any = Constant()
    """What follows the warm-up: constant, cosine, inverse_sqrt."""
    groups: tuple[Group, ...] = ()
    """Parameters with an optimizer of their own; the first group that matches a name counts."""
    unit_weights: str | None = None
    """Parameters, by a regular expression, that every step brings back to unit magnitude: `kernel$`
    for edm2_unet; None: none."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_rate(self.learning_rate)
        for name in ("warmup_steps", "warmup_images"):
            _in_range(name, getattr(self, name), 0)
        if self.clip is not None and not (self.clip > 0 and math.isfinite(self.clip)):
            raise ValueError(f"optimizer.clip must be > 0 and finite, or None, got {self.clip}")
        if self.warmup_steps and self.warmup_images:
            raise ValueError("give optimizer.warmup_steps or optimizer.warmup_images, not both")

    def learning_rate_at(self, step: ArrayLike, *, steps: int, batch_size: int) -> Array | None:
        """The learning rate of a step, float32; None where a method of a script's own has it.

        Args:
            step: 0, 1, 2, ...
            steps: of the whole run.
            batch_size: for a warm-up told in examples.
        """
        if isinstance(self.method, Transformation):
            return None
        return self._rate(self.learning_rate, steps, batch_size)(step)

    def elementwise(self, trainable: Any) -> bool:
        """Whether every number is treated alike, whatever it is called and wherever it stands."""
        alike = not self.groups and self.unit_weights is None and not _assigned(trainable)
        return alike and isinstance(self.method, Adam | Lion | SGD)

    def build(self, trainable: Any, *, steps: int, batch_size: int) -> optax.GradientTransformation:
        """The optimizer: clipping, then the update of the chosen method.

        What stands under "assigned" at the top of the parameters is not learned: it takes a plain
        step of size 1, outside of clipping, warm-up and decay (see `Objective`).

        Args:
            trainable: the parameters, or their shapes, whose names the groups are matched with.
            steps: of the whole run.
            batch_size: of a step.

        Raises:
            ValueError: a group that matches no parameter.
        """
        assigned = _assigned(trainable)
        clip = optax.identity() if self.clip is None else clip_by_norm(self.clip)
        update = self.method.build(self._rate(self.learning_rate, steps, batch_size))
        if self.groups:
            names = _names(trainable)
            if assigned:
                names |= {ASSIGNED: ""}  # one name, which no group takes
            leaves = jax.tree.leaves(names)
            chosen = [
                matching(leaves, group.pattern, "optimizer.groups pattern") for group in self.groups
            ]

            def group_of(name: str) -> str:
                return next((str(i) for i, c in enumerate(chosen) if name in c), "rest")

            updates: dict[Hashable, optax.GradientTransformation] = {
                str(i): group.method.build(self._rate(group.learning_rate, steps, batch_size))
                for i, group in enumerate(self.groups)
            }
            update = optax.multi_transform(
                updates | {"rest": update}, jax.tree.map(group_of, names)
            )
        learned = optax.chain(clip, update)
        if assigned:
            kinds = {name: ASSIGNED if name == ASSIGNED else "learned" for name in trainable}
            learned = optax.multi_transform({"learned": learned, ASSIGNED: optax.sgd(1.0)}, kinds)
        if self.unit_weights is None:
            return learned
        names = _names(trainable)
        taught = {k: v for k, v in names.items() if k != ASSIGNED} if assigned else names
        found = matching(jax.tree.leaves(taught), self.unit_weights, "optimizer.unit_weights")
        return optax.chain(learned, unit_weights(jax.tree.map(lambda n: n in found, names)))

    def _rate(self, highest: float, steps: int, batch_size: int) -> Rate:
        warmup = self.warmup_steps or self.warmup_images / batch_size

        def rate(step: ArrayLike) -> Array:
            step = jnp.asarray(step, jnp.float32)
            value = jnp.float32(highest) * self.decay.factor(step, warmup=warmup, steps=steps)
            # The first step learns something too: the ramp's first value is 1 / warmup.
            return value * jnp.minimum((step + 1) / max(warmup, 1), 1)

        return rate


def _check_rate(rate: float) -> None:
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"optimizer.learning_rate must be > 0 and finite, got {rate}")


def _assigned(trainable: Any) -> bool:
    return isinstance(trainable, dict) and ASSIGNED in trainable


def _names(tree: Any) -> Any:
    """A tree whose every leaf is its own name."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    return jax.tree.unflatten(
        structure, ["/".join(str(getattr(k, "key", k)) for k in path) for path, _ in paths]
    )
