"""sample.py from end to end, on runs that are trained for a few steps."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffax.commands import sample as command
from diffax.training import Options, load_recipe, train_recipe

CONFIGS = Path(__file__).parents[2] / "configs"


class Small(nn.Module):
    """A network of 8 x 8 images with labels that compiles in no time."""

    num_classes: int | None = None
    reads: ClassVar[tuple[str, ...]] = ("label",)

    @nn.compact
    def __call__(self, x, t, condition=None, *, train=False):
        h = nn.Dense(32)(x.reshape(x.shape[0], -1)) + nn.Dense(32)(t[:, None] / 1000)
        label = (condition or {}).get("label", jnp.full(t.shape, self.num_classes, jnp.int32))
        h = h + nn.Embed(self.num_classes + 1, 32)(label)
        return nn.Dense(64)(nn.silu(h)).reshape(x.shape)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of vectors and one of labelled images, without what training leaves for the eye."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("s_curve", "digits"):
        recipe = replace(load_recipe(f"{name}:debug", CONFIGS), summarize=None)
        config = recipe.config
        config = replace(
            config,
            train=replace(config.train, steps=5, images=False, sample_every=0, tensorboard=False),
        )
        if name == "digits":
            config = replace(config, objective=replace(config.objective, network=Small()))
        assert train_recipe(recipe, config, folder / name, Options(quiet=True)) == 0
    return folder


def draw(*arguments):
    return command.main([str(a) for a in (*arguments, "--quiet")])


def test_every_ending_for_images(runs, tmp_path):
    run = runs / "digits"
    for ending in (".png", ".gif", ".npz"):
        assert draw("--workdir", run, "--num", 12, "--out", tmp_path / f"out{ending}") == 0
    assert draw("--workdir", run, "--num", 12, "--out", tmp_path / "folder") == 0

    grid = Image.open(tmp_path / "out.png")
    assert grid.size[0] >= 512 and json.loads(grid.text["diffax"])["num"] == 12
    assert Image.open(tmp_path / "out.gif").n_frames == 6
    arrays = np.load(tmp_path / "out.npz")
    assert arrays["arr_0"].dtype == np.uint8 and arrays["arr_0"].shape == (12, 8, 8, 1)
    np.testing.assert_array_equal(arrays["arr_1"], np.arange(12) % 10)
    images = sorted((tmp_path / "folder").iterdir())
    assert [p.name for p in images] == [f"{i:05d}.png" for i in range(12)]
    np.testing.assert_array_equal(np.asarray(Image.open(images[3])), arrays["arr_0"][3, ..., 0])


def test_every_ending_for_vectors(runs, tmp_path):
    run = runs / "s_curve"
    for ending in (".png", ".gif", ".npz"):
        assert draw("--workdir", run, "--num", 50, "--out", tmp_path / f"out{ending}") == 0
    arrays = np.load(tmp_path / "out.npz")
    assert arrays.files == ["arr_0"]
    assert arrays["arr_0"].dtype == np.float32 and arrays["arr_0"].shape == (50, 2)
    assert draw("--workdir", run, "--out", tmp_path / "folder") == 2


def test_sample_i_depends_on_seed_and_i_only(runs, tmp_path):
    def vectors(name, *arguments):
        out = tmp_path / f"{name}.npz"
        assert draw("--workdir", runs / "s_curve", "--out", out, *arguments) == 0
        return np.load(out)["arr_0"]

    whole = vectors("whole", "--num", 12)
    np.testing.assert_allclose(vectors("few", "--num", 5), whole[:5], rtol=1e-5, atol=1e-5)
    pieces = vectors("pieces", "--num", 12, "--batch-size", 5)
    np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(vectors("again", "--num", 12), whole)
    assert np.abs(vectors("other", "--num", 12, "--seed", 1) - whole).min() > 0


def test_labels_guidance_and_sampler_change_what_comes_out(runs, tmp_path):
    def images(name, *arguments):
        out = tmp_path / f"{name}.npz"
        assert draw("--workdir", runs / "digits", "--num", 4, "--out", out, *arguments) == 0
        return np.load(out)

    sevens = images("sevens", "--label", 7)
    np.testing.assert_array_equal(sevens["arr_1"], 7)
    # After 5 steps the network hardly tells labels apart: a large scale makes it visible.
    guided = images("guided", "--label", 7, "--guidance", 1000)
    noisy = images("noisy", "--label", 7, "--eta", 1.0)
    ancestral = images("ancestral", "--label", 7, "--sampler", "ddpm", "--steps", 6)
    for other in (guided, noisy, ancestral):
        assert (other["arr_0"] != sevens["arr_0"]).any()
    mixed = images("mixed", "--label", 3, 5)
    np.testing.assert_array_equal(mixed["arr_1"], [3, 5, 3, 5])


def test_inpainting_keeps_what_the_mask_leaves_black(runs, tmp_path):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    edit = ["--init-image", tmp_path / "image.png", "--mask", tmp_path / "mask.png"]
    out = tmp_path / "out.npz"
    assert draw("--workdir", runs / "digits", "--num", 3, "--out", out, *edit) == 0
    images = np.load(out)["arr_0"][..., 0]
    np.testing.assert_array_equal(images[:, :, :4], np.broadcast_to(image[:, :4], (3, 8, 4)))
    assert (images[:, :, 4:] != image[:, 4:]).mean() > 0.5


def test_image_to_image_stays_the_closer_the_lower_its_strength(runs, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    away = []
    for strength in (0.05, 0.5, 1.0):
        out = tmp_path / f"{strength}.npz"
        edit = ["--init-image", tmp_path / "image.png", "--strength", strength]
        assert draw("--workdir", runs / "digits", "--num", 8, "--out", out, *edit) == 0
        images = np.load(out)["arr_0"][..., 0].astype(float)
        away.append(np.abs(images - image).mean())
    assert away[0] < away[1] < away[2] and away[0] < 25


BAD = {
    "unknown sampler": (["--sampler", "ddmi"], "did you mean ddpm, ddim"),
    "too many steps": (["--steps", "1001"], "1 .. 1000"),
    "no steps": (["--steps", "0"], "should be a whole number from 1"),
    "wrong type": (["--eta", "much"], "--eta"),
    "negative eta": (["--eta", "-1"], "eta"),
    "eta for a solver without": (["--sampler", "dpmpp_2m", "--eta", "1"], "no option 'eta'"),
    "a sampler that goes the other way": (["--sampler", "ddim_inversion"], "to noise"),
    "unknown spacing": (["--spacing", "karas"], "karas"),
    "label of a model without classes": (["--label", "1"], "this one has no classes"),
    "guidance of a model without classes": (["--guidance", "2"], "needs a model with a condition"),
    "unknown option": (["--stepz", "3"], "--stepz"),
    "no such checkpoint": (["--checkpoint", "7"], "no checkpoint of step 7"),
    "no such average": (["--ema", "nope"], "keeps no average"),
    "strange ending": (["--out", "x.jpeg"], ".jpeg"),
    "mask without an image": (["--mask", "m.png"], "--init-image"),
    "no model of images": (["--init-image", "none.png"], "makes vectors"),
    "prompt for a run without": (["--prompt", "a cat"], "needs a model that reads texts"),
    "a flag of published models": (["--dtype", "bfloat16"], "only with --pretrained"),
    "tiles of what has no latents": (["--tile", "64"], "this one makes its data directly: leave"),
    "both kinds of model": (["--pretrained", "p"], "got both"),
    "twice": (["--num", "1", "--num", "2"], "given twice"),
    "unwritable": (["--out", "/proc/none/x.png"], "cannot write"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(runs, capsys, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert draw("--workdir", runs / "s_curve", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_a_label_out_of_range_is_refused(runs, capsys):
    for label in (11, -1, "x"):
        assert draw("--workdir", runs / "digits", "--label", label) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and ("0 to 9" in told or "no class is called 'x'" in told)


def test_bad_edits_are_refused(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("image.png")
    Image.fromarray(np.zeros((4, 8), np.uint8)).save("mask.png")
    for arguments, words in (
        (["--init-image", "none.png"], "no image none.png"),
        (["--init-image", "image.png", "--strength", "2"], "(0, 1]"),
        (["--init-image", "image.png", "--mask", "mask.png"], "resize one of them"),
    ):
        assert draw("--workdir", runs / "digits", *arguments) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and words in told


def test_folders_without_a_run_or_checkpoint(tmp_path, capsys):
    assert draw("--workdir", tmp_path / "none") == 2
    assert "no run" in capsys.readouterr().err
    assert draw() == 2
    assert "expected one of --workdir DIR" in capsys.readouterr().err


def test_an_older_output_survives_a_failure(runs, tmp_path):
    out = tmp_path / "out.png"
    out.write_bytes(b"older")
    assert draw("--workdir", runs / "s_curve", "--sampler", "nope", "--out", out) == 2
    assert out.read_bytes() == b"older"


def test_help_lists_every_sampler_in_a_line():
    script = Path(__file__).parents[2] / "sample.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("ddpm", "ddim", "dpmpp_2m"):
        assert any(line.strip().startswith(f"{name} ") for line in done.stdout.splitlines())
