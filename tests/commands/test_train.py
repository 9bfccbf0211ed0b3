"""train.py as a user meets it: what it does, and one line for everything it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from diffax.commands import sample
from diffax.commands import train as command
from diffax.commands.train import main, with_arguments
from diffax.training import load_recipe, prepare

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "configs"
QUICK = ("--train.images", "False", "--train.tensorboard", "False", "--train.sample_every", "0")


def call(*arguments: str) -> int:
    return main([str(argument) for argument in arguments], recipes=RECIPES)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "--config NAME is missing; there are: audio_folder, cifar"),
        (["--config", "s_curv"], "no recipe is called 's_curv'; nearest: s_curve"),
        (["--config", "nowhere/mine.py"], "there is no file nowhere/mine.py"),
        (["--config", "s_curve:big"], "no variant is called 'big'; there are: debug"),
        (["--config", "s_curve", "--train.stepz", "3"], "unknown option --train.stepz; nearest: "),
        (["--config", "s_curve", "--dry-rum"], "nearest: dry"),
        (["--config", "s_curve", "3"], "unexpected argument '3'"),
        (["--config", "s_curve", "--train.steps", "many"], "should be a whole number, got 'many'"),
        (["--config", "s_curve", "--train.steps", "1.5"], "should be a whole number, got '1.5'"),
        (["--config", "s_curve", "--train.steps"], "should be a whole number, got 'nothing'"),
        (["--config", "s_curve", "--train.steps", "0"], "train.steps must be >= 1, got 0"),
        (["--config", "digits", "--data.flip", "maybe"], "True or False, got 'maybe'"),
        (["--config", "s_curve", "--data.flip", "True"], "unknown option --data.flip"),
        (["--config", "s_curve", "--schedule", "cos"], "no schedule is called 'cos'; nearest"),
        (["--config", "s_curve", "--schedule.tau", "2"], "unknown option --schedule.tau"),
        (["--config", "s_curve", "--schedule", "None"], "should be one of linear, scaled"),
        (["--config", "s_curve", "--schedule"], "should be one of linear, scaled"),
        (["--config", "s_curve", "--sample.steps", "2000"], "1 .. 1000"),
        (["--config", "s_curve", "--solver", "dmpp"], "no sampler 'dmpp'"),
        (["--config", "s_curve", "--data.name", "s_curv"], "no toy set is called 's_curv'"),
        (["--config", "s_curve", "--data", "toi"], "no data is called 'toi'"),
        (["--config", "s_curve", "--conditioner", "labels"], "needs data with classes"),
        (["--config", "s_curve", "--codec", "pixels"], "use standardize"),
        (["--config", "s_curve", "--network.num_steps", "9"], "unknown option --network.num_steps"),
        (["--config", "s_curve", "--seed", "3"], "say which"),
        (["--config", "s_curve", "--train.fsdp", "3"], "does not divide the 1 devices"),
        (["--config", "digits", "--network.multipliers", "1", "2", "2", "2", "2"], "8x8"),
        (["--config", "digits", "--network.learned_variance", "True"], "the same"),
        (["--config", "s_curve:tutorial", "--schedule.num_steps", "200"], "knows 100 times"),
        (["--config", "cifar", "--data.dir", "/nowhere"], "tfds build cifar10"),
        (["--config", "s_curve", "--init-from", "/nowhere"], "no such run, and no such published"),
        (["--config", "lora", "--pretrained", "hf:nowhere"], "expected hf:ORG/NAME"),
        (["--config", "cifar", "--data", "parquet", "--data.dir", "hf:org/nowhere"], "hub"),
        (["--config", "s_curve", "--on-corrupt", "x"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    workdir = tmp_path / "run"
    arguments = [*arguments, "--workdir", str(workdir)] if arguments else []
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]
    assert not workdir.exists()


def test_overrides_are_typed():
    config = load_recipe("digits", RECIPES).config
    changed = with_arguments(
        config,
        ["--network.multipliers", "1", "2", "4", "--optimizer.clip", "None", "--data.flip=True"]
        + ["--ema.decays", "0.9", "0.99", "--data.image-size", "16", "8", "--train.batch_size=7"],
    )
    assert changed.objective.network.multipliers == (1, 2, 4)
    assert changed.optimizer.clip is None and changed.data.flip is True
    assert changed.ema.decays == (0.9, 0.99) and changed.data.image_size == (16, 8)
    assert changed.train.batch_size == 7
    assert changed.objective.network.channels == config.objective.network.channels


@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("*.py")))
def test_every_recipe_says_what_it_is_and_has_a_debug_variant(name):
    recipe = load_recipe(name, RECIPES)
    debug = load_recipe(f"{name}:debug", RECIPES)
    text = (RECIPES / f"{name}.py").read_text()
    assert f"python train.py --config {name}" in text
    assert debug.config.train.steps <= 50 < recipe.config.train.steps


def test_a_run_from_the_first_line_to_the_last(tmp_path, capsys):
    workdir = tmp_path / "run"
    arguments = ["--config", "s_curve:debug", "--workdir", workdir]
    assert call(*arguments, "--train.sample_every", "40", "--sample.num", "50") == 0
    said = capsys.readouterr().out
    assert " parameters" in said and "waiting for data" in said
    assert "sliced wasserstein" in said
    left = {path.name for path in workdir.iterdir()}
    assert {
        *("config.json", "metrics.jsonl", "summary.json", "checkpoints", "samples"),
        *("loss.png", "samples.png", "forward.gif", "reverse.gif", "q_sample.png"),
    } <= left
    assert any(name.startswith("events.") for name in left)
    assert (workdir / "samples" / "00000040.png").is_file()
    config = json.loads((workdir / "config.json").read_text())["config"]
    assert config["sample"]["num"] == 50
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]

    assert call(*arguments) == 0  # again: nothing left to do
    assert "all 40 steps are done" in capsys.readouterr().out
    assert call(*arguments, "--train.seed", "1") == 2
    assert "train.seed: 0 -> 1" in capsys.readouterr().err


def test_help(capsys):
    assert call("--help") == 0
    said = capsys.readouterr().out
    assert "--dry-run" in said and "recipes: audio_folder, cifar, " in said
    assert call("--config", "s_curve", "--help") == 0
    assert "--train.batch_size  a whole number (default: 512)" in capsys.readouterr().out


def test_dry_run_writes_nothing(tmp_path, capsys):
    workdir = tmp_path / "run"
    assert call("--config", "s_curve:debug", "--workdir", workdir, "--dry-run") == 0
    said = capsys.readouterr().out
    for words in ("fresh at every step", "parameters", "memory a device", "compiled"):
        assert words in said
    assert not workdir.exists()


def test_compiled_programs_are_kept_where_told(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        command._use_compilation_cache("off")
        assert jax.config.jax_compilation_cache_dir is None
        command._use_compilation_cache(None)  # on CPU: nowhere
        assert jax.config.jax_compilation_cache_dir is None
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        command._use_compilation_cache(None)
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "diffax" / "xla")
        command._use_compilation_cache("elsewhere")
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.slow
def test_profile_leaves_a_trace(tmp_path, capsys):
    workdir = tmp_path / "run"
    assert call("--config", "s_curve:debug", "--workdir", workdir, *QUICK, "--profile") == 0
    assert list((workdir / "profile").rglob("*.xplane.pb"))


def test_a_recipe_of_ones_own(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import flax.linen as nn\n"
        "import jax.numpy as jnp\n"
        "from diffax.data import Toy\n"
        "from diffax.generation import Sampling\n"
        "from diffax.objectives import Denoising\n"
        "from diffax.training import Config, TrainConfig\n"
        "class Mine(nn.Module):\n"
        "    width: int = 8\n"
        "    groups: int = 2\n"
        "    @nn.compact\n"
        "    def __call__(self, x, t, condition=None, *, train=False):\n"
        "        h = nn.Dense(self.width)(jnp.concatenate([x, t[:, None]], -1))\n"
        "        return nn.Dense(x.shape[-1])(nn.silu(h))\n"
        "def config(variant=''):\n"
        "    return Config(data=Toy(num=64), objective=Denoising(network=Mine()),\n"
        "        train=TrainConfig(steps=2, batch_size=8),\n"
        "        sample=Sampling(steps=2, num=2, clip=None))\n"
    )
    workdir = tmp_path / "run"
    arguments = ("--config", path, "--workdir", workdir, *QUICK, "--quiet")
    assert call(*arguments, "--network.width", "4", "--network.groups", "1") == 0
    for name in [n for n in sys.modules if n.startswith("diffax_recipe_mine")]:
        del sys.modules[name]
    out = tmp_path / "out.npz"
    drawing = ["--workdir", str(workdir), "--num", "3", "--out", str(out), "--quiet"]
    assert sample.main(drawing) == 2  # a folder's code is not run unasked
    assert "not run from a folder" in capsys.readouterr().err
    assert "diffax_recipe_mine" not in sys.modules
    assert sample.main([*drawing, "--trust"]) == 0
    assert np.load(out)["arr_0"].shape == (3, 2)
    path.unlink()
    del sys.modules["diffax_recipe_mine"]
    assert sample.main([*drawing, "--trust"]) == 2
    assert "mine.py is not there" in capsys.readouterr().err


CAPTIONS = """
from typing import ClassVar
import flax.linen as nn
import jax.numpy as jnp
from diffax.conditioning import Captions
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.training import Config, TrainConfig

class Told(nn.Module):
    embedding_size: int | None = None
    reads: ClassVar[tuple[str, ...]] = ("embedding",)

    @nn.compact
    def __call__(self, x, t, condition, *, train=False):
        told = nn.Dense(16)(condition["embedding"]) + nn.Dense(16)(t[:, None] / 1000)
        h = nn.silu(nn.Dense(16)(x.reshape(x.shape[0], -1)) + told)
        return nn.Dense(x[0].size)(h).reshape(x.shape)

def config(variant=""):
    reader = Captions(length=8, width=8, depth=0, num_heads=1)
    return Config(ImageFolder(captions=True), Denoising(Told(), conditioner=reader),
        train=TrainConfig(steps=2, batch_size=4), sample=Sampling(steps=2, num=2))
"""


def test_captions_from_files_to_a_prompt(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, text in enumerate(("a cat", "a dog", "né", "owl")):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "captioned.py").write_text(CAPTIONS)
    workdir, out = tmp_path / "run", tmp_path / "out.npz"
    arguments = ("--config", tmp_path / "captioned.py", "--data.dir", folder, *QUICK, "--quiet")
    for reader in ("nothing", "None"):
        refused = (*arguments, "--conditioner", reader, "--workdir", tmp_path / "none")
        assert call(*refused) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "nothing reads them: set --conditioner captions" in told
    assert not (tmp_path / "none").exists()
    assert call(*arguments, "--workdir", workdir) == 0

    def draw(*more: str) -> int:
        asked = ("--workdir", workdir, "--num", 2, "--out", out, "--quiet", *more)
        return sample.main([str(a) for a in asked])

    def drawn(*more: str) -> np.ndarray:
        assert draw(*more) == 0
        return np.load(out)["arr_0"]

    cat = drawn("--prompt", "a cat", "--guidance", "50")
    assert cat.shape == (2, 8, 8, 3) and cat.dtype == np.uint8
    np.testing.assert_array_equal(drawn("--prompt", "a cat", "--guidance", "50"), cat)
    assert (drawn("--prompt", "a dog", "--guidance", "50") != cat).any()
    # What is to be avoided is what the text says: nothing is left of the guidance.
    negative = drawn("--prompt", "a cat", "--negative", "a cat", "--guidance", "50")
    plain = drawn("--prompt", "a cat", "--guidance", "1")
    assert np.abs(negative.astype(int) - plain).max() <= 1
    assert draw() == 2 and "--prompt TEXT is missing" in capsys.readouterr().err
    assert draw("--prompt", "x", "--label", "1") == 2 and "no classes" in capsys.readouterr().err


@pytest.mark.slow
def test_the_recipe_of_captioned_images_fits_together(tmp_path):
    for i in range(2):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("nothing")
    config = load_recipe("image_folder:captions", RECIPES).config
    given = ["--data.dir", str(tmp_path), "--data.image_size", "16", "--train.batch_size", "2"]
    given += ["--network.channels", "32", "--network.multipliers", "1", "1"]
    given += ["--network.num_res_blocks", "1"]
    network = prepare(with_arguments(config, given)).objective.network
    assert (network.context_size, network.embedding_size) == (128, 128)


@pytest.mark.slow
def test_many_choices_at_once(tmp_path, capsys):
    workdir = tmp_path / "run"
    arguments = ("--config", "s_curve:debug", "--workdir", workdir, *QUICK, "--train.steps", "20")
    arguments += ("--schedule", "linear", "--schedule.num_steps", "100")
    arguments += ("--optimizer.method", "adamw", "--optimizer.method.weight_decay", "0.1")
    arguments += ("--adapter", "low_rank", "--adapter.pattern", "dense", "--adapter.rank", "2")
    arguments += ("--sample.solver", "dpmpp_2m", "--sample.solver.order", "3", "--ema.decays")
    assert call(*arguments, "--quiet") == 0
    config = json.loads((workdir / "config.json").read_text())["config"]
    assert config["objective"]["schedule"]["class"] == "linear"
    assert config["optimizer"]["method"]["weight_decay"] == 0.1
    assert config["sample"]["solver"]["class"] == "dpmpp_3m" and config["ema"]["decays"] == []
    assert not (workdir / "loss.png").exists()
    out = tmp_path / "out.npz"
    assert sample.main(["--workdir", str(workdir), "--num", "3", "--out", str(out)]) == 0
    assert np.isfinite(np.load(out)["arr_0"]).all()
    assert f"{workdir} (step 20, none)" in capsys.readouterr().out  # no average is kept


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(tmp_path):
    import signal
    import time

    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--config", "digits:debug", "--workdir"]
        + [str(tmp_path), "--train.steps", "100000", "--train.steps_per_call", "10000"]
        + ["--train.log_every", "10000", "--train.save_every", "10000", *QUICK],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("compiled"):
            break
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None  # finishing its call of 10,000 steps
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (-signal.SIGINT, 130)


@pytest.mark.slow
def test_cifar_learns_on_real_images(tmp_path, capsys):
    data = os.environ.get("DIFFAX_TEST_DATA")
    if not data:
        pytest.skip("DIFFAX_TEST_DATA, the folder of the real data, is not set")
    workdir = tmp_path / "run"
    arguments = ("--config", "cifar:reduced", "--workdir", workdir, "--data.dir", f"{data}/tfds")
    assert call(*arguments, *QUICK, "--quiet", "--train.steps", "100") == 0
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
