"""What a solver says of itself: its names, order, cost, options and limits, on its class.

    @noun
    class DDIM:
        description = Description(
            names=(Name("ddim", "deterministic (eta 0) to ancestral (eta 1)"),),
            options={"eta": real("share of fresh noise")},
            stochastic="eta",
            paper="Song et al. 2021, eq. 12, 16",
        )
        eta: ArrayLike = number(default=0.0)

The registry, help texts, the table of `docs/samplers.md` and the tests of orders, calls and
combinations read it there: a new solver is one file.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from diffax.schedules import Schedule

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Option:
    """What one option of a solver does, and which values it may have.

    Attributes:
        type: float, int, str or bool; where `optional`, None is a value too.
        help: one line, without the range.
        low: smallest number.
        high: largest number.
        ends: brackets of the range of a float: `[` and `]` where the end itself is a value.
        choices: of a str.
        optional: whether None is a value.
    """

    type: type
    help: str
    low: float = 0
    high: float = math.inf
    ends: str = "[)"
    choices: tuple[str, ...] = ()
    optional: bool = False

    @property
    def range(self) -> str:
        """The values in words, such as `in [0, inf)`, `1 .. 3` or `midpoint or heun`."""
        if self.type is bool:
            text = "true or false"
        elif self.type is str:
            text = ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
            text = text if len(self.choices) > 1 else self.choices[0]
        elif self.type is int:
            text = f"at least {self.low}" if self.high == math.inf else f"{self.low} .. {self.high}"
        else:
            text = f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"
        return f"{text} or none" if self.optional else text

    def check(self, name: str, value: Any) -> None:
        """Refuses a value that the option cannot have; traced values pass.

        Raises:
            ValueError: it names the option, its range and the value.
        """
        if isinstance(value, jax.Array):
            return  # of the program: its numbers are not known yet, or cost a wait
        if not ((self.optional and value is None) or self._holds(value)):
            raise ValueError(f"{name} should be {self.range}, got {value!r}")

    def _holds(self, value: Any) -> bool:
        if self.type is bool:
            return isinstance(value, bool | np.bool_)
        if self.type is str:
            return isinstance(value, str) and value in self.choices
        if self.type is int:
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            return bool(whole and self.low <= value <= self.high)
        value = np.asarray(value)
        if value.dtype.kind not in "iuf":
            return False
        above = value >= self.low if self.ends[0] == "[" else value > self.low
        below = value <= self.high if self.ends[1] == "]" else value < self.high
        return bool(np.all(above & below))


def real(help: str, low: float = 0.0, high: float = math.inf, ends: str = "[)") -> Option:
    """An option that is a number."""
    return Option(float, help, low, high, ends)


def whole(help: str, low: int, high: float = math.inf) -> Option:
    """An option that is a whole number."""
    return Option(int, help, low, high)


def choice(help: str, *choices: str, optional: bool = False) -> Option:
    """An option that is one of a few words."""
    return Option(str, help, choices=choices, optional=optional)


def flag(help: str) -> Option:
    """An option that is true or false."""
    return Option(bool, help)


@dataclass(frozen=True)
class Name:
    """A solver's name on the command line.

    Attributes:
        name: the name.
        summary: one line.
        fixed: options that the name sets.
        also: what other programs call it.
    """

    name: str
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a solver's class says of its solvers.

    Attributes that may be a function are given the solver, whose options may matter.

    Attributes:
        names: on the command line, each with a summary and the options that it sets.
        paper: where it stands.
        order: of convergence of the global error (stochastic solvers: of the weak error); 0 where
            the question has no answer (few-step samplers of distilled models).
        calls: network calls of a run of S steps, as a formula.
        count: the same as a function of the solver and S; None where it depends on the data.
        stochastic: whether fresh noise enters: always, never, or where the named option is not 0.
        options: what may be set, by field.
        needs_schedule: whether the network is asked between grid points.
        needs_signal: whether alpha must be > 0 where the grid starts: it steps in sigma / alpha.
        needs_table: whether the schedule must be a table of times.
        least_steps: fewest intervals of a grid.
        backwards: whether it goes from data to noise, on a grid turned round.
        discrete: whether it is for tokens; all others are for Gaussian noise.
    """

    names: tuple[Name, ...]
    paper: str
    order: int | Callable[[Any], int] = 1
    calls: str = "S"
    count: Callable[[Any, int], int] | None = lambda solver, steps: steps
    stochastic: bool | str = False
    options: Mapping[str, Option] = field(default_factory=lambda: _NONE)
    needs_schedule: bool | Callable[[Any], bool] = False
    needs_signal: bool | Callable[[Any], bool] = False
    needs_table: bool = False
    least_steps: int = 1
    backwards: bool = False
    discrete: bool = False

    def told(self, name: str, solver: Any) -> Any:
        """The attribute `name` for one solver."""
        value = getattr(self, name)
        return value(solver) if callable(value) else value

    def is_stochastic(self, solver: Any) -> bool:
        """Whether fresh noise enters a run of this solver, whose options are plain numbers."""
        if isinstance(self.stochastic, str):
            return bool(getattr(solver, self.stochastic))
        return self.stochastic


def check_options(solver: Any) -> None:
    """Refuses options outside the ranges that the solver's description states.

    Raises:
        ValueError: the first one found.
    """
    for name, option in solver.description.options.items():
        option.check(name, getattr(solver, name))


def check_schedule(solver: Any) -> None:
    """Refuses a solver that asks the network between grid points and was told no schedule.

    Raises:
        ValueError: `schedule` is None where it is needed.
    """
    if solver.description.told("needs_schedule", solver):
        schedule_of(solver)


def schedule_of(solver: Any) -> Schedule:
    """The schedule of a solver that asks the network between grid points.

    Raises:
        ValueError: it was told none.
    """
    if solver.schedule is None:
        raise ValueError(
            f"{type(solver).__name__} asks the network between grid points: give schedule=..., or "
            "fill it in by diffax.solvers.registry.with_schedule"
        )
    return solver.schedule
