"""Every command line of README.md, docs/ and the notebooks: its flags, fields and names exist.

The README's on runs of the digits and on folders of images are executed, too, in their debug
variants.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffax.commands import evaluate, export, report, sample, train
from diffax.training import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "configs"
STARTS = r"(?:%run |python |diffax )(?:train|sample|evaluate|export|report)(?:\.py)? "
# What stands for a value of the reader's, where a number is needed.
PLACEHOLDERS = {"N": "2", "I": "0", "HOST:1234": "localhost:1234", "$i": "0", "...": ""}


def commands():
    """(page, words) of every command, in order."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = {page.name: page.read_text() for page in pages}
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        texts[path.name] = "\n".join("".join(cell["source"]) for cell in cells)
    for name, text in texts.items():
        joined = re.sub(r"\\\n\s*", " ", text)
        for line in re.findall(rf"^\s*(?:\w+=\S+ )*({STARTS}.*)$", joined, flags=re.M):
            words = shlex.split(re.sub(r"(\s{3,}|\s+#).*$", "", line))[1:]
            yield name, [PLACEHOLDERS.get(w, w) for w in words if w not in ("&", "[...]", "...")]


COMMANDS = sorted({(page, tuple(words)) for page, words in commands()})


def test_there_are_many():
    assert len(COMMANDS) > 60
    assert {words[0].removesuffix(".py") for _, words in COMMANDS} >= {
        "train",
        "sample",
        "evaluate",
    }


@pytest.mark.parametrize("page, words", COMMANDS, ids=lambda v: v if isinstance(v, str) else v[0])
def test_a_command_can_be_understood(page, words):
    command, arguments = words[0].removesuffix(".py"), list(words[1:])
    if "--help" in arguments:
        arguments.remove("--help")
        if command != "train" or not arguments:
            return
    if command == "train":
        _understood_by_train(arguments)
    elif command == "sample":
        flags = sample._parser().parse_args(arguments)
        sample._check(flags)
    elif command == "evaluate":
        flags, rest = evaluate._parser().parse_known_args(arguments)
        evaluate._check(flags)
        for text in flags.sweep or ():
            evaluate._sweep(text)
        if flags.metrics:
            evaluate._metrics(flags, evaluate.grouped(rest), flags.metrics)
    else:
        {"export": export, "report": report}[command]._parser().parse_args(arguments)


def _understood_by_train(arguments):
    flags, rest = train._parser().parse_known_args(arguments)
    if flags.config.endswith(".py") or flags.config == "NAME":
        assert not rest  # the reader's own recipe
        return
    train.with_arguments(load_recipe(flags.config, RECIPES).config, rest)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with captioned images, a mask, and statistics."""
    folder = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(80):  # enough that some are held out of a twentieth
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        (folder / "images" / f"{i}.txt").write_text("a square")
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "F", "PNG")
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(folder / "M", "PNG")
    for name in ("F", "M"):
        (folder / name).rename(folder / f"{name}.png")
    return folder


QUICK = ("--train.tensorboard", "False", "--quiet")


def _executed():
    """The README's commands that need no data of somebody's and no published model."""
    for page, words in commands():
        line = " ".join(words)
        needs = ("--pretrained", "cifar", "--samples", "--help", "upscale")
        if page == "README.md" and not any(word in line for word in needs):
            yield words


@pytest.mark.slow
def test_the_commands_of_the_readme_run(place, monkeypatch):
    monkeypatch.chdir(place)
    replaced = {"DIR": "images", "F": "F.png", "M": "M.png", "1000": "50", "100": "20"}
    done = []
    for words in _executed():
        command, arguments = words[0].removesuffix(".py"), [replaced.get(w, w) for w in words[1:]]
        if command == "train":
            config = arguments.index("--config") + 1
            name, _, variant = arguments[config].partition(":")
            arguments[config] = f"{name}:{variant or 'debug'}"
            if "--workdir" not in arguments:
                arguments += ["--workdir", f"runs/{name}"]
            assert train.main([*arguments, *QUICK], recipes=RECIPES) == 0, words
        elif command == "sample":
            assert sample.main([*arguments, "--quiet"]) == 0, words
        else:
            assert evaluate.main([*arguments, "--num", "50", "--quiet"]) == 0, words
        done.append(command)
    assert {"train", "sample", "evaluate"} == set(done)
    assert report.main(["runs/digits"]) == 0
    for name in ("digits.png", "sevens.gif", "digits.npz", "runs/digits/report.html"):
        assert Path(name).stat().st_size > 0


@pytest.mark.slow
def test_the_guide_for_ones_own_pictures_runs(place, monkeypatch):
    """As it stands in installation.md, for three steps instead of 300."""
    monkeypatch.chdir(place)
    replaced = {"PICTURES": "images", "300": "3"}
    named = {"train": train, "sample": sample, "report": report}
    done = []
    for page, words in commands():
        if page == "installation.md" and "runs/mine" in words:
            arguments = [replaced.get(w, w) for w in words[1:]]
            assert named[words[0]].main(arguments) == 0, words
            done.append(words[0])
    assert done == ["train", "sample", "report"]
    assert Path("mine.png").stat().st_size > 0 and Path("runs/mine/report.html").stat().st_size > 0
