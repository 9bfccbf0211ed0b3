"""`diffax train`, and train.py."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from diffax.commands.errors import UsageError, one_line_errors, raise_usage
from diffax.commands.flags import add_processes, cluster_of, grouped
from diffax.commands.program import program
from diffax.nearest import nearest
from diffax.training import distributed, dotted
from diffax.training.base import started_from
from diffax.training.config import Config
from diffax.training.describe import help_text
from diffax.training.image_size import sized_as
from diffax.training.keeping.checkpoint import CorruptCheckpoint
from diffax.training.keeping.remote import begun_in, work_folder
from diffax.training.loop import Options, train_recipe
from diffax.training.metrics import NonFinite
from diffax.training.overrides import full_name, override
from diffax.training.preflight import dry_run
from diffax.training.recipe import load_recipe, recipe_folders, recipe_names


def main(arguments: Sequence[str] | None = None, *, recipes: Path | None = None) -> int:
    """Runs `diffax train`.

    Args:
        arguments: of the command line; None: the process's own.
        recipes: folder of the recipes NAME.py; None: the user's own and those that come along.

    Returns:
        The exit status: 0 done; 1 training went wrong; 2 bad input, or a place that cannot be
        written, with one line on stderr; 130 or 143 stopped by a signal, everything saved.
    """
    place: list[Path] = []
    folders = recipe_folders() if recipes is None else [recipes]
    return one_line_errors(
        lambda: _train(arguments, folders, place),
        failures=(NonFinite, CorruptCheckpoint),
        workdir=lambda: place[0] if place else None,
    )


def _train(arguments: Sequence[str] | None, folders: list[Path], place: list[Path]) -> int:
    flags, rest = _parser().parse_known_args(arguments)
    if flags.config is None:
        known = recipe_names(folders)
        if not flags.help:
            raise UsageError(f"--config NAME is missing; there are: {', '.join(known)}")
        _parser().print_help()
        print(f"recipes: {', '.join(known)}")
        return 0
    recipe = load_recipe(flags.config, *folders)
    if flags.help:
        _parser().print_help()
        print(f"\nfields of {recipe.title}:\n{help_text(recipe.config)}")
        return 0
    config = recipe.config
    if flags.pretrained is not None:
        config = sized_as(config, flags.pretrained)  # what the command line says goes first
    config = with_arguments(config, rest)
    if flags.pretrained is not None:
        other_data = type(config.data) is not type(recipe.config.data)
        if other_data and not any(name.endswith("image_size") for name in grouped(rest)):
            config = sized_as(config, flags.pretrained)
        config = started_from(config, flags.pretrained)
    if flags.init_from is not None:
        train = dataclasses.replace(config.train, init_from=flags.init_from)
        config = dataclasses.replace(config, train=train)
    name = f"runs/{recipe.title.replace(':', '_')}" if flags.workdir is None else flags.workdir
    with work_folder(name, flags.mirror) as (workdir, mirror):
        place.append(workdir)
        distributed.initialize(cluster_of(flags))
        _use_compilation_cache(flags.compilation_cache)
        if flags.dry_run:
            dry_run(recipe, config, name, begun_in(name))
            return 0
        if recipe.before is not None:
            recipe.before(config)
        options = Options(
            allow_config_change=flags.allow_config_change,
            fall_back=flags.on_corrupt == "fall-back",
            profile=flags.profile,
            quiet=flags.quiet,
            mirror=mirror,
        )
        return train_recipe(recipe, config, workdir, options)


def with_arguments(config: Config, arguments: Sequence[str]) -> Config:
    """A config with fields replaced by `--section.field VALUE ...`.

    Args:
        config: gives the defaults and the types.
        arguments: of the command line.

    Raises:
        ValueError: an unknown field, or a value of the wrong type; one line.
    """
    groups = grouped(arguments)
    types = dotted.field_types(config)
    flags = [action.option_strings[0][2:] for action in _parser()._actions]
    for name in groups:
        # A flag of train.py itself, misspelled, is answered with the flags.
        if "." not in name and full_name(name, types) is None:
            short = [n.removeprefix("objective.") for n in types]
            raise UsageError(f"unknown option --{name}; {nearest(name, [*flags, *types, *short])}")
    return override(config, groups)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train"),
        description="Trains a diffusion model, or continues where its folder has got to.",
        epilog="Any field of the config: --section.field VALUE. See them all: "
        f"{program('train')} --config NAME --help",
        add_help=False,
        allow_abbrev=False,
    )
    parser.error = raise_usage
    add = parser.add_argument
    add("--config", metavar="NAME[:VARIANT]", help="a recipe, or the path of your own")
    add(
        "--workdir",
        metavar="DIR",
        help="the run's folder (default: runs/NAME), or an address: gs://BUCKET/RUN, "
        "s3://BUCKET/RUN",
    )
    add(
        "--pretrained",
        metavar="DIR",
        help="the published model, or run of yours, that is tuned: the path of all its parts; of a "
        "run also the images' size",
    )
    add(
        "--init-from",
        metavar="DIR",
        help="a run or published model of the same network, whose weights this one starts from",
    )
    add(
        "--mirror",
        metavar="ADDRESS",
        help="address of a copy of the run's folder, kept up with every checkpoint and fetched "
        "where the folder is empty",
    )
    add("--help", "-h", action="store_true", help="this text and all fields of the config")
    add("--dry-run", action="store_true", help="resolve, count, compile one call, stop")
    add("--profile", action="store_true", help="leave a profiler trace in the run's folder")
    add("--quiet", action="store_true", help="no progress, only warnings")
    add(
        "--allow-config-change",
        action="store_true",
        help="continue a run although its config was another",
    )
    add(
        "--on-corrupt",
        choices=("fall-back", "stop"),
        default="fall-back",
        help="where the newest checkpoint is broken: use the next older one, or stop",
    )
    add_processes(parser)
    add(
        "--compilation-cache",
        metavar="DIR",
        help="where compiled programs are kept; 'off' for nowhere "
        "(default: the user's cache folder, except on CPU)",
    )
    return parser


def _use_compilation_cache(folder: str | None) -> None:
    """Keeps compiled programs between runs; JAX's own environment variable goes first."""
    if folder == "off" or (folder is None and os.environ.get("JAX_COMPILATION_CACHE_DIR")):
        return
    if folder is None:
        if jax.default_backend() == "cpu":
            return  # what one processor compiled another may not be able to run
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(base) / "diffax" / "xla")
    jax.config.update("jax_compilation_cache_dir", folder)


if __name__ == "__main__":
    sys.exit(main())
