"""What a run would be, without making it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from diffax.training.choices import fields
from diffax.training.config import Config
from diffax.training.dotted import differences, flatten
from diffax.training.keeping.workdir import previous_config
from diffax.training.recipe import Recipe
from diffax.training.setup import Setup, prepare


def dry_run(recipe: Recipe, config: Config, name: str, workdir: Path) -> None:
    """Prints what a run would be, compiles one call, and stops; writes nothing.

    Args:
        recipe: where the config comes from.
        config: resolved.
        name: of the run's folder.
        workdir: the folder, as far as the run has begun.
    """
    print(f"config {recipe.title}, for {name}:")
    print(describe(config))
    old = previous_config(workdir)
    for field, (before, after) in (differences(old, config) if old else {}).items():
        print(f"other than in {name}: {field}: {before} -> {after}")
    setup = prepare(config)
    for name, value in taken_from_data(setup).items():
        print(f"taken from the data: {name}={value}")
    print(setup.report())
    call, seconds = setup.compiled
    print(f"compiled {setup.stack} steps a call in {seconds:.1f} s")
    memory = call.memory_analysis()
    if memory is not None:
        peak = (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes
        )
        print(
            f"memory a device: {peak / 2**20:,.0f} MiB "
            f"({memory.argument_size_in_bytes / 2**20:,.0f} state and batches, "
            f"{memory.temp_size_in_bytes / 2**20:,.0f} for the computation)"
        )
    print("dry run: nothing was written")


def taken_from_data(setup: Setup) -> dict[str, Any]:
    """What the recipe left open and the data decided, by dotted name."""
    found = {}
    for part in ("network", "conditioner", "codec"):
        given = getattr(setup.config.objective, part, None)
        built = getattr(setup.objective, part, None)
        if built is None or type(given) is not type(built):
            continue
        for name, value in fields(built):
            if value != getattr(given, name):
                found[f"objective.{part}.{name}"] = value
    return found


def describe(config: Config) -> str:
    """All fields, a paragraph for each section."""
    sections: dict[str, list[str]] = {}
    for name, value in flatten(config).items():
        section, _, field = name.partition(".")
        sections.setdefault(section, []).append(f"{field}={value}" if field else str(value))
    paragraphs = [f"{section}: {', '.join(fields)}" for section, fields in sections.items()]
    return "\n".join(textwrap.fill(p, 100, subsequent_indent="    ") for p in paragraphs)
