"""Recipes: Python files whose docstring says what they reproduce, with `config(variant)`.

A recipe may also have `before(config)`, which train.py calls first, and `summarize(run)`.
"""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffax.nearest import nearest
from diffax.training.config import Config


@dataclass(frozen=True)
class Recipe:
    """A recipe, with one of its variants.

    Attributes:
        name: of the file, without its ending.
        variant: "" is the recipe itself.
        path: of the file.
        config: of this variant.
        summarize: `(run) -> {name: figure}`, the quality figures of a finished run, if the recipe
            has any.
        before: `config -> None`: what train.py does before the run, such as making images that the
            data need; it continues where it was interrupted.
    """

    name: str
    variant: str
    path: Path
    config: Config
    summarize: Callable[[Any], dict[str, Any]] | None = None
    before: Callable[[Config], None] | None = None

    @property
    def title(self) -> str:
        """NAME or NAME:variant, as on the command line."""
        return f"{self.name}:{self.variant}" if self.variant else self.name


def recipe_folders() -> list[Path]:
    """Where a recipe's name is looked up: the user's own `configs/`, then those that come along."""
    package = Path(__file__).parents[1]
    # A wheel holds them inside the package; in a checkout they lie beside it.
    installed = package / "configs"
    along = installed if installed.is_dir() else package.parent / "configs"
    own = Path("configs")
    return [own, along] if own.is_dir() and not own.samefile(along) else [along]


def recipe_names(folders: Sequence[Path]) -> list[str]:
    """The names that there are, in order."""
    return sorted({p.stem for f in folders for p in f.glob("*.py") if not p.stem.startswith("_")})


def load_recipe(spec: str, *folders: Path) -> Recipe:
    """Finds and reads a recipe.

    Args:
        spec: NAME, NAME:variant, or the path of a .py file with or without :variant.
        folders: hold the files NAME.py, the first that has one going first; none:
            `recipe_folders()`.

    Raises:
        ValueError: no such recipe or variant, or a file that is none.
        FileNotFoundError: a path that leads nowhere.
    """
    name, _, variant = spec.partition(":")
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"--config {spec}: there is no file {path}")
    else:
        folders = folders or tuple(recipe_folders())
        known = recipe_names(folders)
        if name not in known:
            raise ValueError(
                f"--config {spec}: no recipe is called {name!r}; {nearest(name, known)}; "
                "or give the path of your own .py file"
            )
        path = next(f / f"{name}.py" for f in folders if (f / f"{name}.py").is_file())
    module = _imported(path)
    if not callable(getattr(module, "config", None)):
        raise ValueError(f'{path} is no recipe: expected a function config(variant: str = "")')
    if not inspect.signature(module.config).parameters and variant:
        raise ValueError(f"{path} has no variants, got {variant!r}")
    config = module.config(variant) if variant else module.config()
    if not isinstance(config, Config):
        raise ValueError(f"{path}: config() must return a diffax.training.Config, got {config!r}")
    hooks = {name: getattr(module, name, None) for name in ("summarize", "before")}
    return Recipe(path.stem, variant, path, config, **hooks)


def _imported(path: Path) -> Any:
    """A recipe's module; whatever its code does wrong is one line, with file and line."""
    try:
        return load_module(path)
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else None)
        place = f"{path}, line {line}" if line else str(path)
        raise ValueError(f"the recipe {place}: {type(error).__name__}: {error}") from error


def unknown_variant(variant: str, known: list[str]) -> ValueError:
    """The error of a recipe that is asked for a variant it does not have.

    Example:
        >>> raise unknown_variant("big", ["debug"])
        Traceback (most recent call last):
        ValueError: no variant is called 'big'; there are: debug
    """
    named = ", ".join(name for name in known if name)
    return ValueError(f"no variant is called {variant!r}; there are: {named}")


def debugged(config: Config) -> Config:
    """The same run, over in seconds: 4 steps of 8 examples, sampled in 2 steps.

    Args:
        config: with a network small enough for it.
    """
    train = dataclasses.replace(
        config.train,
        steps=4,
        batch_size=8,
        accumulate=1,
        steps_per_call=2,
        quick=True,
        log_every=2,
        save_every=4,
        sample_every=4,
        frames=8,
    )
    return dataclasses.replace(
        config, train=train, sample=dataclasses.replace(config.sample, steps=2, num=4, quick=True)
    )


def load_module(path: Path) -> Any:
    """The module in a file, so named that classes defined in it can be found again."""
    name = f"diffax_recipe_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module
