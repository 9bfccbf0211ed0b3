"""Solvers as choices of a recipe: plain data, named as in the registry."""

import dataclasses
from typing import Any

from diffax.solvers import registry
from diffax.solvers.solver import Solver


def make(name: str, **options: Any) -> Solver:
    """A solver by name, without a schedule, which `registry.with_schedule` fills in for a run.

    Raises:
        ValueError: no such solver or option, or a value outside its range.

    Example:
        >>> make("dpmpp_3m").order
        3
    """
    entry = registry.lookup(name)
    for option in options:
        if option not in entry.options:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"sampler {name} takes no option {option!r}; its options: {known}")
    return entry.make(**{**entry.fixed, **options})


def name_of(solver: Solver) -> str:
    """The name under which the registry knows a solver, options left aside.

    Raises:
        ValueError: it is none of them, such as one that wraps another.

    Example:
        >>> name_of(make("dpmpp_3m"))
        'dpmpp_3m'
    """
    best, most = None, -1
    for name, entry in registry.SOLVERS.items():
        fits = type(solver) is entry.make and all(
            getattr(solver, option) == value for option, value in entry.fixed.items()
        )
        if fits and len(entry.fixed) > most:
            best, most = name, len(entry.fixed)
    if best is None:
        raise ValueError(f"{type(solver).__name__} has no name in the registry of solvers")
    return best


def replaced(solver: Solver, **options: Any) -> Solver:
    """The solver with other options.

    Raises:
        ValueError: an option that it does not take, or a value outside its range.
    """
    own = [f.name for f in dataclasses.fields(solver) if f.name != "schedule"]
    for option in options:
        if option not in own:
            raise ValueError(
                f"sampler {type(solver).__name__} takes no option {option!r}; its options: "
                f"{', '.join(own) or 'none'}"
            )
    return dataclasses.replace(solver, **options)
