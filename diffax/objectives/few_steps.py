"""Few-step models: consistency models, trained or distilled, and progressive distillation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from jax import Array

from diffax import adapters, losses, parameterization, schedules
from diffax.data import Spec
from diffax.denoiser import Denoiser, Network
from diffax.losses.few_steps import consistency_loss, progressive_loss
from diffax.objectives.denoising import Denoising, DenoisingObjective, Shown, quartiles
from diffax.objectives.objective import Batch, Mean
from diffax.sampling import time_grid
from diffax.schedules import Point


@dataclass(frozen=True)
class ConsistencyTraining:
    """A network learns to jump to the data, by itself (Song et al. 2023, algorithm 3).

    Sample it with the solver `consistency` on the same spacing.
    """

    network: Any
    """The Flax module, as for denoising; `run` starts from another run's."""
    schedule: Any = schedules.EDM()
    """The noise schedule."""
    parameterization: Any = parameterization.EDM()
    """What the network is asked for; all but x0 make a function that leaves clean data alone."""
    intervals: int = 40
    """Of the grid whose neighbours are compared, >= 2. More are finer and slower to learn."""
    spacing: str = "karras"
    """Where the grid's times are placed."""
    huber: float = 0.00054
    """Where the distance turns from squared to linear, for one dimension, > 0."""
    by_gap: bool = True
    """Weigh by one over the gap in sigma / alpha; False for schedules that end in noise."""
    conditioner: Any = None
    """What the network is told, as for denoising."""
    codec: Any = None
    """Data <-> model space, as for denoising."""
    adapter: Any = adapters.Everything()
    """Which parameters are learned: everything, subset, low_rank."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_consistency(self)

    def build(self, spec: Spec) -> ConsistencyObjective:
        """The objective for data that say this of themselves.

        Raises:
            ValueError: parts that do not fit each other or the data.
        """
        parts = {f.name for f in dataclasses.fields(Denoising)} & set(_values(self))
        base = Denoising(**{name: getattr(self, name) for name in parts}).build(spec)
        return _consistency(self, base)


@dataclass(frozen=True)
class ConsistencyDistillation:
    """A network learns to jump where its teacher walks (Song et al. 2023, algorithm 2).

    The student is the teacher's network with its parameters to start from, told the same, on the
    same schedule. The teacher is kept by reference.
    """

    teacher: Any = None
    """The run to distil: run."""
    intervals: int = 40
    """Of the grid along which the teacher walks, >= 2."""
    spacing: str = "trailing"
    """Where the grid's times are placed."""
    huber: float = 0.00054
    """Where the distance turns from squared to linear, for one dimension, > 0."""
    by_gap: bool = False
    """Weigh by one over the gap in sigma / alpha; False for schedules that end in noise."""

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_consistency(self)

    def build(self, spec: Spec) -> ConsistencyObjective:
        """The objective for data that say this of themselves; raises as `ConsistencyTraining`."""
        return _consistency(self, _student_of(self.teacher, spec))


@dataclass(frozen=True)
class Progressive:
    """A network learns to make half as many steps as its teacher (Salimans & Ho 2022).

    The student is the teacher's network with its parameters to start from. Repeat with the student
    as the next teacher: 4 steps, then 2, then 1. Sample it with `ddim` (eta 0) on the same spacing
    in as many steps. The teacher is kept by reference.
    """

    teacher: Any = None
    """The run to distil: run."""
    steps: int = 4
    """The student's; the teacher makes twice as many. >= 1."""
    spacing: str = "trailing"
    """Where the grid's times are placed."""
    weighting: Any = losses.Constant()
    """How much every example counts: constant (on v the paper's SNR + 1), min_snr, ..."""

    def __post_init__(self) -> None:
        """Checks every number."""
        if self.steps < 1:
            raise ValueError(f"objective.steps must be >= 1, got {self.steps}")

    def build(self, spec: Spec) -> ProgressiveObjective:
        """The objective for data that say this of themselves.

        Raises:
            ValueError: no teacher, or one that does not fit the data.
        """
        base = _student_of(self.teacher, spec)
        grid = time_grid(base.schedule, 2 * self.steps, self.spacing)
        return ProgressiveObjective(
            **_values(dataclasses.replace(base, weighting=self.weighting)), grid=grid
        )


@dataclass(frozen=True, kw_only=True)
class _Distilled(DenoisingObjective):
    """What the objectives of few-step models share: a grid, and a teacher where there is one."""

    grid: Point

    def init(self, key: Array, batch: Batch, loaded: Any) -> tuple[Any, Any]:
        """`(trainable, frozen)`: the student starts as its teacher, which is frozen."""
        if "teacher" not in loaded:
            return super().init(key, batch, loaded)
        teacher = loaded["teacher"]
        trainable, frozen = super().init(key, batch, loaded | {"network": teacher})
        return trainable, frozen | {"teacher": teacher}

    def _teacher(self, shown: Shown, frozen: Any) -> Denoiser:
        """The teacher, told the same as the student; it drops nothing."""
        return Network(
            self.network.apply, frozen["teacher"], shown.network.condition, self.parameterization
        )


@dataclass(frozen=True, kw_only=True)
class ConsistencyObjective(_Distilled):
    """`ConsistencyTraining` or `ConsistencyDistillation`, built; see `Objective`."""

    huber: float
    by_gap: bool

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """See `losses.few_steps.consistency_loss`."""
        shown = self.shown(trainable, frozen, batch, key, train)
        value, parts = consistency_loss(
            shown.network,
            shown.x0,
            shown.key,
            grid=self.grid,
            teacher=self._teacher(shown, frozen) if "teacher" in frozen else None,
            huber=self.huber,
            by_gap=self.by_gap,
        )
        return value, quartiles(parts["rank"], parts["mse"])


@dataclass(frozen=True, kw_only=True)
class ProgressiveObjective(_Distilled):
    """`Progressive`, built; see `Objective`."""

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """See `losses.few_steps.progressive_loss`."""
        shown = self.shown(trainable, frozen, batch, key, train)
        value, parts = progressive_loss(
            shown.network,
            self._teacher(shown, frozen),
            shown.x0,
            shown.key,
            grid=self.grid,
            parameterization=self.parameterization,
            weighting=self.weighting,
            schedule=shown.schedule,
        )
        return value, quartiles(parts["rank"], parts["mse"])


def _check_consistency(recipe: Any) -> None:
    if recipe.intervals < 2:
        raise ValueError(f"objective.intervals must be >= 2, got {recipe.intervals}")
    if not recipe.huber > 0:
        raise ValueError(f"objective.huber must be > 0, got {recipe.huber}")


def _consistency(recipe: Any, base: DenoisingObjective) -> ConsistencyObjective:
    if isinstance(base.parameterization, parameterization.X0):
        raise ValueError(
            "a consistency model leaves clean data as they are, which x0-prediction does not; use "
            "v, eps, velocity or edm"
        )
    grid = time_grid(base.schedule, recipe.intervals, recipe.spacing)
    if recipe.by_gap and float(grid.alpha[0]) == 0:
        raise ValueError(
            "objective.by_gap divides by gaps in sigma / alpha, and the first is infinite on a "
            "schedule that ends in noise; set --objective.by_gap False"
        )
    return ConsistencyObjective(
        **_values(base), grid=grid, huber=recipe.huber, by_gap=recipe.by_gap
    )


def _student_of(teacher: Any, spec: Spec) -> DenoisingObjective:
    """A denoising objective with the teacher's parts, its parameters being loaded as "teacher".

    Raises:
        ValueError: no teacher, or one of other data.
    """
    if teacher is None:
        raise ValueError(
            "distillation needs a teacher: --objective.teacher run --objective.teacher.path DIR"
        )
    model = teacher.model()
    if getattr(model.conditioner, "trained", False):
        raise ValueError(
            f"{teacher.path} learned its text encoder along; only models whose conditioner is not "
            "trained (labels, published) can be teachers"
        )
    learned = getattr(model.network.module, "learned_variance", False)
    found = Denoising(
        network=_Opened(model.network.module, model.network.params),
        schedule=_Built(model.schedule),
        parameterization=model.parameterization,
        conditioner=model.conditioner,
        codec=model.codec,
        variance=losses.LearnedVariance() if learned else None,
    ).build(spec)
    if found.shape != model.shape:
        raise ValueError(
            f"the teacher {teacher.path} makes data of shape {list(model.shape)}, the data are "
            f"{list(found.shape)} in its model space"
        )
    parts = dict(found.loaded)
    return dataclasses.replace(
        found,
        loaded={"teacher": parts.pop("network"), **parts},
        sources=dict.fromkeys(("teacher", *parts), str(teacher.path)),
    )


@dataclass(frozen=True)
class _Opened:
    """A network that is there already, as a recipe's."""

    module: Any
    params: Any

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters."""
        return self.module, self.params


@dataclass(frozen=True)
class _Built:
    """A schedule that is there already, as a recipe's."""

    schedule: Any

    def build(self) -> Any:
        """The schedule."""
        return self.schedule


def _values(node: Any) -> dict[str, Any]:
    """A record's fields and their values, themselves untouched."""
    return {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
