"""The config's `schedule` and `loss` sections, and what they become."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from jax import Array

from diffax import losses, parameterization, schedules
from diffax.losses import TimeSampling, Weighting
from diffax.parameterization import Parameterization
from diffax.schedules import Point, Schedule


@dataclass(frozen=True)
class ScheduleConfig:
    """Which noise schedule; a number left at None is the schedule's own default."""

    name: Literal[
        "linear",
        "scaled_linear",
        "cosine",
        "sigmoid",
        "sigmoid_beta",
        "betas",
        "alpha_bars",
        "vp",
        "sub_vp",
        "continuous_cosine",
        "ve",
        "edm",
        "rectified_flow",
    ] = "cosine"
    """Tables: linear, scaled_linear, cosine, sigmoid, sigmoid_beta, betas, alpha_bars.
    Continuous in time: vp, sub_vp, continuous_cosine, ve, edm, rectified_flow."""
    num_steps: int | None = None
    """T, for tables."""
    beta_start: float | None = None
    beta_end: float | None = None
    low: float | None = None
    high: float | None = None
    start: float | None = None
    end: float | None = None
    tau: float | None = None
    offset: float | None = None
    max_beta: float | None = None
    beta_min: float | None = None
    beta_max: float | None = None
    sigma_min: float | None = None
    sigma_max: float | None = None
    betas: tuple[float, ...] | None = None
    """For name=betas: the table itself."""
    alpha_bars: tuple[float, ...] | None = None
    """For name=alpha_bars: the table itself."""
    zero_terminal_snr: bool = False
    """Shift a table so that its last step is pure noise."""

    def build(self) -> Schedule:
        """The schedule.

        Raises:
            ValueError: a number that this schedule does not know, or one out of its range.
        """
        kind = schedules.BY_NAME[self.name]
        known = {field.name for field in dataclasses.fields(kind)}
        if self.zero_terminal_snr and "zero_terminal_snr" not in known:
            raise ValueError(f"schedule.zero_terminal_snr is for tables; {self.name} is continuous")
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "name"
            and getattr(self, field.name) is not None
            and getattr(self, field.name) is not False
        }
        for name in given:
            if name not in known:
                numbers = sorted(known - {"zero_terminal_snr"})
                raise ValueError(
                    f"schedule.{name} has no meaning for {self.name!r}, which takes "
                    f"{', '.join(numbers) or 'no numbers'}; leave it at None"
                )
        if self.name in known and self.name not in given:
            raise ValueError(f"schedule.name={self.name} needs the table schedule.{self.name}")
        return kind(**given).build()


@dataclass(frozen=True)
class LossConfig:
    """What the network is asked for, where in time, and how much it counts."""

    parameterization: Literal["eps", "x0", "v", "velocity", "edm"] = "eps"
    sigma_data: float = 0.5
    """For edm: the data's standard deviation."""
    times: Literal["uniform", "antithetic", "stratified", "log_normal", "logit_normal"] = "uniform"
    time_mean: float | None = None
    """For log_normal (None: -1.2) and logit_normal (None: 0)."""
    time_std: float | None = None
    """For log_normal (None: 1.2) and logit_normal (None: 1)."""
    weighting: Literal["constant", "min_snr", "p2"] = "constant"
    gamma: float | None = None
    """For min_snr (None: 5) and p2 (None: 1)."""
    k: float | None = None
    """For p2 (None: 1)."""
    label_dropout: float = 0.1
    """Probability of replacing a label by the null label, which classifier-free guidance needs."""

    def __post_init__(self) -> None:
        """Checks every number against the choice that it belongs to."""
        if not 0 <= self.label_dropout <= 1:
            raise ValueError(f"loss.label_dropout must lie in 0 to 1, got {self.label_dropout}")
        if not self.sigma_data > 0:
            raise ValueError(f"loss.sigma_data must be > 0, got {self.sigma_data}")
        if self.time_std is not None and not self.time_std > 0:
            raise ValueError(f"loss.time_std must be > 0, got {self.time_std}")
        for name, choice, users in (
            ("time_mean", self.times, ("log_normal", "logit_normal")),
            ("time_std", self.times, ("log_normal", "logit_normal")),
            ("gamma", self.weighting, ("min_snr", "p2")),
            ("k", self.weighting, ("p2",)),
        ):
            if getattr(self, name) is not None and choice not in users:
                raise ValueError(
                    f"loss.{name} has no meaning for {choice!r}, only for {' and '.join(users)}; "
                    "leave it at None"
                )

    def build_parameterization(self) -> Parameterization:
        """What the network is asked for."""
        if self.parameterization == "edm":
            return parameterization.EDM(self.sigma_data)
        return parameterization.BY_NAME[self.parameterization]()

    def build_times(self) -> TimeSampling:
        """Where in time the loss looks."""
        return _chosen(losses.TIMES[self.times], mean=self.time_mean, std=self.time_std)

    def build_weighting(self) -> Weighting:
        """How much every example counts."""
        return _chosen(losses.WEIGHTINGS[self.weighting], gamma=self.gamma, k=self.k)

    def time_rank(self, point: Point, schedule: Schedule) -> Array:
        """Which share of all drawn times lies below each of these, `[B]` in 0 to 1.

        Its quartiles are the buckets of the loss by time: each of them gets a quarter of the
        examples, whatever the time sampling.
        """
        return self.build_times().rank(point, schedule)


def _chosen(kind: type, **numbers: float | None):
    """The choice with the numbers that are given; the others are its own defaults."""
    return kind(**{name: value for name, value in numbers.items() if value is not None})
