"""The command `diffax`, what an import brings with it, and a wheel in an empty folder."""

import importlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import diffax
from diffax.commands import program
from diffax.training import load_recipe
from diffax.training.recipe import recipe_folders, recipe_names

ROOT = Path(__file__).parents[2]


def test_every_command_has_a_main_and_a_line_of_help(capsys):
    assert program.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, summary in program.COMMANDS.items():
        assert f"  {name}" in text and summary in text
        assert callable(importlib.import_module(f"diffax.commands.{name}").main)


def test_arguments_go_to_the_command(capsys):
    assert program.main(["train", "--config", "nothing_of_the_kind"]) == 2
    assert "no recipe is called 'nothing_of_the_kind'" in capsys.readouterr().err


def test_an_unknown_command_is_one_line(capsys):
    assert program.main(["trian"]) == 2
    assert capsys.readouterr().err == "error: diffax has no command 'trian'; nearest: train\n"


def test_the_version_is_told(capsys):
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out == f"diffax {diffax.__version__}\n"


@pytest.mark.parametrize("script, wanted", [("train.py", "train.py"), ("diffax", "diffax train")])
def test_help_names_what_was_typed(script, wanted, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{script}"])
    assert program.program("train") == wanted


def test_a_recipe_of_ones_own_goes_before_one_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (along,) = recipe_folders()
    assert along == ROOT / "configs" and "digits" in recipe_names([along])
    Path("configs").mkdir()
    source = "from diffax.training import load_recipe\n\ndef config(variant=''):\n    return {}\n"
    Path("configs/mine.py").write_text(source.format("load_recipe('s_curve:debug').config"))
    assert load_recipe("mine").path == Path("configs/mine.py")
    assert {"mine", "digits"} <= set(recipe_names(recipe_folders()))
    Path("configs/digits.py").write_text(source.format("load_recipe('s_curve').config"))
    assert load_recipe("digits").path == Path("configs/digits.py")


# What takes long to import and few need.
HEAVY = {
    "array_record", "diffrax", "equinox", "matplotlib", "orbax", "pandas", "scipy", "sklearn",
    "tensorboardX", "tensorflow", "tensorflow_datasets", "torch", "transformers", "tyro",
}  # fmt: skip


@pytest.mark.parametrize(
    "module, more",
    [("diffax", {"flax", "optax", "PIL", "tqdm"}), ("diffax.commands.train", set())],
)
def test_an_import_leaves_out_what_is_not_needed_yet(module, more):
    told = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", told], env=env, capture_output=True, text=True, check=True
    )
    found = (HEAVY | more) & set(done.stdout.split())
    assert not found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of programs of a fresh environment with our wheel, the rest being this one's."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("diffax-*.whl")
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    target = [*pip, "--python", folder / "venv/bin/python"]
    subprocess.run([*target, "install", "--no-deps", "--no-index", wheel], check=True)
    # What diffax depends on, without diffax itself, which a checkout may have installed editable.
    theirs = Path(importlib.import_module("jax").__file__).parents[1]
    for path in theirs.iterdir():
        if "diffax" not in path.name and path.suffix != ".pth":
            if not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    return folder / "venv" / "bin"


def run(installed, folder, *arguments):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [installed / "diffax", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_a_wheel_trains_and_samples_in_an_empty_folder(installed, tmp_path):
    where = "import diffax; print(diffax.__file__)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = [installed / "python", "-c", where]
    home = subprocess.run(python, cwd=tmp_path, env=env, capture_output=True, text=True).stdout
    assert home.startswith(str(installed.parent))

    done = run(installed, tmp_path, "train", "--config", "digits:debug", "--workdir", "mine")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "summary.json").is_file()
    done = run(installed, tmp_path, "sample", "--workdir", "mine", "--num", 4, "--out", "four.png")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "four.png"}
    done = run(installed, tmp_path, "train", "--config", "nothing")
    assert done.returncode == 2 and "no recipe is called" in done.stderr


@pytest.mark.slow
def test_a_source_distribution_holds_everything(tmp_path):
    backend = f"import hatchling.build; print(hatchling.build.build_sdist({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", backend], cwd=ROOT, capture_output=True, text=True, check=True
    )
    archive = tmp_path / done.stdout.split()[-1]
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True).stdout
    names = {name.partition("/")[2] for name in listed.split()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    left_out = {name for name in tracked.split() if not name.startswith((".ci/", ".github/"))}
    assert left_out - names - {".gitignore"} == set()
