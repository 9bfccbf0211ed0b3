"""Every solver by name: what it is, what it takes, what it costs, and what it cannot do.

Nothing is listed here: the names come from the `description` of every solver class of this package.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diffax.nearest import similar
from diffax.schedules import Schedule
from diffax.solvers import naming
from diffax.solvers.description import Description, Name, Option
from diffax.solvers.solver import Solver


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a solver's name.

    Attributes:
        make: the solver's class.
        named: the name with its summary and the options that it sets.
    """

    make: type
    named: Name

    @property
    def description(self) -> Description:
        """What the class says of itself."""
        return self.make.description

    @property
    def summary(self) -> str:
        """One line."""
        return self.named.summary

    @property
    def fixed(self) -> Mapping[str, Any]:
        """Options this name sets."""
        return self.named.fixed

    @property
    def order(self) -> int:
        """Order of convergence with the default options; 0 where the question has no answer."""
        return self.description.told("order", self._default)

    @property
    def calls(self) -> str:
        """Network calls of a run of S steps, as a formula."""
        return self.description.calls

    def count(self, steps: int, **options: Any) -> int | None:
        """Network calls of a run of so many steps; None where it depends on the data."""
        count = self.description.count
        return None if count is None else count(self.make(**self.fixed, **options), steps)

    @property
    def stochastic(self) -> bool:
        """Whether fresh noise enters by default."""
        return self.description.is_stochastic(self._default)

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of what the user may set."""
        return {
            f.name: f.default
            for f in dataclasses.fields(self.make)
            if f.name != "schedule" and f.name not in self.fixed
        }

    @property
    def takes_schedule(self) -> bool:
        """Whether the solver may ask the network between grid points."""
        return any(f.name == "schedule" for f in dataclasses.fields(self.make))

    @property
    def _default(self) -> Solver:
        return self.make(**self.fixed)


def _entries() -> Iterator[tuple[str, Entry]]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        if module.name == __name__:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            own = isinstance(value, type) and value.__module__ == module.name
            if own and "description" in vars(value):
                for named in value.description.names:
                    yield named.name, Entry(value, named)


SOLVERS: Mapping[str, Entry] = MappingProxyType(dict(sorted(_entries(), key=lambda item: item[0])))

# All but those of tokens: what Gaussian noise is taken out by.
GAUSSIAN: Mapping[str, Entry] = MappingProxyType(
    {name: entry for name, entry in SOLVERS.items() if not entry.description.discrete}
)


def build(name: str, schedule: Schedule | None = None, **options: Any) -> Solver:
    """A solver by name.

    Args:
        name: one of `SOLVERS`, or what another program calls it.
        schedule: the noise schedule, for the solvers that ask the network between grid points.
        options: the solver's own, such as `eta=0.5` or `order=3`; see `describe(name)`.

    Raises:
        ValueError: no such solver or option (the nearest are named), a value outside its range, or
            a needed schedule missing.

    Example:
        >>> build("ddim", eta=0.5).eta
        0.5
    """
    entry = lookup(name)
    for option in options:
        if option not in entry.options:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"sampler {name} takes no option {option!r}; its options: {known}")
    solver = entry.make(**entry.fixed, **options)
    if schedule is not None:
        return with_schedule(solver, schedule)
    if entry.takes_schedule and entry.description.told("needs_schedule", solver):
        raise ValueError(f"sampler {name} asks the network between grid points: give schedule=...")
    return solver


def with_schedule(solver: Solver, schedule: Schedule) -> Solver:
    """The same solver, told the noise schedule where it takes one and has none.

    A recipe holds a solver without its schedule, as plain data; this completes it.

    Args:
        solver: any solver; the solvers it wraps are completed too.
        schedule: the schedule of the run.

    Example:
        >>> from diffax import schedules, solvers
        >>> with_schedule(solvers.KDPM2(), schedules.VP()).schedule
        VP(beta_min=0.1, beta_max=20.0)
    """
    if not dataclasses.is_dataclass(solver):
        return solver
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(solver):
        value = getattr(solver, field.name)
        if field.name == "schedule" and value is None:
            changes["schedule"] = schedule
        elif hasattr(value, "step") and hasattr(value, "init"):
            changes[field.name] = with_schedule(value, schedule)
    return dataclasses.replace(solver, **changes) if changes else solver


# ---------------------------------------------------------------- names


def resolved(name: str) -> tuple[str, str | None]:
    """The registry's name of a sampler, and the spacing that another program's name implies.

    Args:
        name: one of `SOLVERS`, or what another program calls it: capitals, spaces, `_` and the
            words "k" and "sampler" do not matter.

    Raises:
        ValueError: an unknown name; the nearest are named.

    Example:
        >>> resolved("DPM++ 2M Karras")
        ('dpmpp_2m', 'karras')
        >>> resolved("EulerAncestralDiscreteScheduler")
        ('euler_ancestral', None)
    """
    if name in SOLVERS:
        return name, None
    word, spacing = naming.split(name)
    if word in _WORDS:
        return _WORDS[word], spacing
    near = ", ".join(suggestions(name))
    hint = f"did you mean {near}? " if near else ""
    raise ValueError(f"no sampler {name!r}; {hint}there are: {', '.join(SOLVERS)}")


def lookup(name: str) -> Entry:
    """What the registry knows of `name`, its own or another program's.

    Raises:
        ValueError: an unknown name; or one that names a spacing, too, which is no part of a solver.
    """
    own, spacing = resolved(name)
    if spacing is not None:
        raise ValueError(
            f"{name!r} is the sampler {own} with spacing {spacing}: name the two apart here"
        )
    return SOLVERS[own]


def suggestions(name: str) -> list[str]:
    """At most three solvers whose names are nearest to one that is none.

    Example:
        >>> "dpmpp_2m" in suggestions("DPM++ 2N Karras")
        True
    """
    word, _ = naming.split(name)
    begun = [known for known in _WORDS if word and known.startswith(word)]
    near = similar(word, _WORDS)
    return list(dict.fromkeys(_WORDS[known] for known in [*begun, *near]))[:3]


def _words() -> dict[str, str]:
    """Every name as `naming.split` writes it -> the registry's."""
    found: dict[str, str] = {}
    for name, entry in SOLVERS.items():
        for known in (name, *entry.named.also):
            word, spacing = naming.split(known)
            if spacing is not None or found.setdefault(word, name) != name:
                raise ValueError(f"{known!r} is no name for {name}: it means {found.get(word)}")
    return found


_WORDS: Mapping[str, str] = MappingProxyType(_words())


# ---------------------------------------------------------------- options and help


def option_ranges(name: str) -> dict[str, Option]:
    """What a solver's options may be: those that are plain values, by name."""
    entry = lookup(name)
    stated = entry.description.options
    return {option: stated[option] for option in entry.options if option in stated}


def all_options() -> dict[str, tuple[type, str]]:
    """Every option of every solver as a command line has them: `{name: (type, help)}`.

    The help is one line: what the option does, its range, and the solvers that take it.

    Example:
        >>> all_options()["corrections"]
        (<class 'int'>, 'Langevin steps at each level; langevin: at least 0')
    """
    takers: dict[str, dict[Option, list[str]]] = {}
    for name in SOLVERS:
        for option, stated in option_ranges(name).items():
            takers.setdefault(option, {}).setdefault(stated, []).append(name)
    found = {}
    for option, by_range in sorted(takers.items()):
        helps = list(dict.fromkeys(stated.help for stated in by_range))
        ranges = [f"{', '.join(names)}: {stated.range}" for stated, names in by_range.items()]
        found[option] = next(iter(by_range)).type, "; ".join([" / ".join(helps), *ranges])
    return found


def describe(name: str | None = None) -> str:
    """One line a solver, for `--help`; with a name, that solver's line and options."""
    if name is None:
        return "\n".join(f"  {key:16} {_line(entry)}" for key, entry in SOLVERS.items())
    entry, stated = lookup(name), option_ranges(name)
    options = ", ".join(
        f"{key}={value} ({stated[key].range})" if key in stated else f"{key}={value}"
        for key, value in entry.options.items()
    )
    return f"{name}: {_line(entry)}. Options: {options or 'none'}"


def _line(entry: Entry) -> str:
    return f"{entry.summary} [{entry.calls} calls]"


def table() -> str:
    """All solvers as a Markdown table, one line a class, as in `docs/samplers.md`."""
    lines = [
        "| name | class | order | calls | stochastic | options | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    families: dict[type, list[str]] = {}
    for name, entry in SOLVERS.items():
        families.setdefault(entry.make, []).append(name)
    for make, names in families.items():
        said = make.description
        orders = dict.fromkeys(str(SOLVERS[name].order or "-") for name in names)
        noise = {True: "yes", False: "no"}.get(said.stochastic, f"if `{said.stochastic}`")
        options = "; ".join(
            f"`{key}`" if option.type is bool else f"`{key}` {option.range}"
            for key, option in said.options.items()
        )
        cells = [", ".join(f"`{name}`" for name in names), f"`{make.__name__}`", ", ".join(orders)]
        cells += [said.calls, noise, options or "-", said.paper]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_names() -> str:
    """What other programs call the solvers, as a Markdown table, as in `docs/samplers.md`."""
    lines = ["| name here | elsewhere |", "|---|---|"]
    for name, entry in SOLVERS.items():
        if entry.named.also:
            lines.append(f"| `{name}` | {', '.join(f'`{other}`' for other in entry.named.also)} |")
    return "\n".join(lines)
