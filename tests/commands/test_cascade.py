"""sample.py makes images larger: a file's, and those of another model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffax.commands import sample as command
from diffax.conditioning import LowRes, Nothing
from diffax.data import Digits
from diffax.generation import Sampling, upscale
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import X0
from diffax.training import Config, Options, Recipe, TrainConfig, load_run, train_recipe

pytestmark = pytest.mark.slow  # two runs, and three programs that draw


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of digits, and one that doubles them; neither has learned anything."""
    folder = tmp_path_factory.mktemp("runs")
    base = Config(
        data=Digits(labels=False),
        objective=Denoising(
            network=UNet(channels=4, multipliers=(1,), num_res_blocks=1, attention_resolutions=()),
            conditioner=Nothing(),
        ),
        train=TrainConfig(
            steps=1, batch_size=4, images=False, sample_every=0, tensorboard=False, workers=1
        ),
        sample=Sampling(steps=2, num=2),
    )
    doubling = replace(
        base.objective,
        network=base.objective.network.clone(corrects=True),
        parameterization=X0(),
        conditioner=LowRes(),
    )
    for name, objective in (("base", base.objective), ("double", doubling)):
        config = replace(base, objective=objective)
        recipe = Recipe(name, "", Path(f"{name}.py"), config)
        assert train_recipe(recipe, config, folder / name, Options(quiet=True)) == 0
    return folder


def draw(*arguments):
    return command.main([str(a) for a in (*arguments, "--quiet")])


def read(path):
    with np.load(path) as held:
        return held["arr_0"]


def test_stages_follow_each_other(runs, tmp_path):
    out = tmp_path / "out.npz"
    first = ["--workdir", runs / "base", "--num", 2, "--out", out]
    assert draw(*first) == 0
    small = read(out)
    then = ["--then", runs / "double"]
    assert draw(*first, *then) == 0
    large = read(out)
    assert large.shape == (2, 16, 16, 1)
    expected = upscale(load_run(runs / "double"), small, seed=0)
    np.testing.assert_allclose(large, np.rint((expected + 1) * 127.5), atol=1)
    assert draw(*first, *then, "--stages") == 0
    shown = read(out)
    assert shown.shape == (2, 16, 32, 1)
    np.testing.assert_array_equal(shown[:, ::2, :16:2], small)
    np.testing.assert_array_equal(shown[:, :, 16:], large)
    assert draw(*first, *then, *then, "--noise-level", 0.1) == 0
    assert read(out).shape == (2, 32, 32, 1)


def test_a_file_is_made_larger(runs, tmp_path):
    Image.fromarray(np.full((4, 6), 200, np.uint8)).save(tmp_path / "small.png")
    out = tmp_path / "out.npz"
    assert (
        draw("--workdir", runs / "double", "--low-res", tmp_path / "small.png", "--out", out) == 0
    )
    assert read(out).shape == (1, 8, 12, 1)


@pytest.mark.parametrize("run, flags, words", [
    ("double", [], "give low_res"),
    ("base", ["--then", "BASE"], "a run that enlarges images is needed"),
    ("base", ["--low-res", "x.png"], "needs a model that enlarges"),
    ("base", ["--noise-level", "0.1"], "needs --low-res or --then"),
    ("base", ["--then", "DOUBLE", "--noise-level", "0.9"], "noise_level must lie in 0 to 0.2"),
    ("base", ["--then", "DOUBLE", "--out", "x.gif"], "no .gif"),
    ("base", ["--stages"], "--stages needs --then"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(runs, tmp_path, capsys, monkeypatch, run, flags, words):
    monkeypatch.chdir(tmp_path)
    flags = [{"BASE": runs / "base", "DOUBLE": runs / "double"}.get(flag, flag) for flag in flags]
    assert draw("--workdir", runs / run, "--num", 1, *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
