"""What tunes a published model tunes a run of our own: a new token, a control image."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffax.commands import sample, train
from diffax.generation import generate, with_controls
from diffax.models import fingerprint
from diffax.models.controlnet import controls_of
from diffax.training import load_run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module", autouse=True)
def _cached(compiled_once):
    """Programs are shared with other tests."""


def trained(recipe: str, images: Path, workdir: Path, *arguments) -> Path:
    """A finished run; the given arguments are `train.py`'s."""
    given = ("--config", recipe, "--data.dir", images, "--data.image_size", 8, "--workdir", workdir,
             "--train.workers", 1, "--train.tensorboard", False, "--train.images", False,
             "--train.sample_every", 0, "--quiet")  # fmt: skip
    assert train.main([str(a) for a in (*given, *arguments)], recipes=CONFIGS) == 0
    return workdir


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Four captioned images, squares of one colour."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(4):
        pixels = np.full((8, 8, 3), 255, np.uint8)
        pixels[i : i + 4, i : i + 4] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"square {i}")
    return folder


@pytest.fixture(scope="module")
def base(images, tmp_path_factory):
    """A run of text to image, in pixels."""
    return trained("emoji:debug", images, tmp_path_factory.mktemp("runs") / "base")


@pytest.mark.slow
def test_a_run_that_reads_captions_learns_a_new_token(tmp_path, images, base):
    """Textual inversion: its rows are all that changes."""
    after = load_run(
        trained("textual_inversion:debug", images, tmp_path / "token", "--pretrained", base)
    )
    before = load_run(base)
    assert fingerprint(before.network.params) == fingerprint(after.network.params)
    tables = dict(after.conditioner.params["params"])
    learned = tables.pop("new_embedding")["embedding"]
    assert fingerprint({"params": tables}) == fingerprint(before.conditioner.params)
    start = before.conditioner.with_token("<new>", 2, "cat").params["params"]["new_embedding"]
    assert np.abs(learned - start["embedding"]).max() > 0
    drawn = [generate(after, prompt=text, num=1, seed=0).data for text in ("a <new>", "a")]
    assert np.abs(np.asarray(drawn[0]) - np.asarray(drawn[1])).max() > 0


def controlled(images: Path, base: Path, workdir: Path, steps: int) -> Path:
    """A run of controlnet on the base."""
    pytest.importorskip("cv2")
    given = ("--pretrained", base, "--train.steps", steps, "--train.batch_size", 4)
    return trained("controlnet:debug", images, workdir, *given)


@pytest.fixture(scope="module")
def control(images, base, tmp_path_factory):
    return controlled(images, base, tmp_path_factory.mktemp("runs") / "control", 4)


@pytest.mark.slow
def test_a_control_is_all_that_is_learned_and_a_run_continues_bitwise(
    tmp_path, images, base, control
):
    controlled(images, base, tmp_path / "cut", 2)
    cut = load_run(controlled(images, base, tmp_path / "cut", 4))
    whole, before = load_run(control), load_run(base)
    assert fingerprint(whole.network.params) == fingerprint(cut.network.params)
    unet, learned = split(whole)
    assert fingerprint(unet) == fingerprint(before.network.params["params"])
    told = fingerprint(whole.conditioner.params["part_0"])
    assert told == fingerprint(before.conditioner.params)
    assert np.any(learned["controlnet_mid_block"]["kernel"])
    # What was learned is a ControlNet for any model of the same base.
    again = with_controls(before, *controls_of(whole.network))
    assert fingerprint(again.network.params) == fingerprint(whole.network.params)


@pytest.mark.slow
def test_the_image_counts_as_much_as_is_asked_and_is_asked_for(
    tmp_path, images, base, control, capsys
):
    def drawn(*arguments) -> np.ndarray:
        out = tmp_path / "out.npz"
        given = ("--workdir", control, "--prompt", "a", "--num", 2, "--steps", 2, "--out", out,
                 "--quiet")  # fmt: skip
        assert sample.main([str(a) for a in (*given, *arguments)]) == 0
        return np.load(out)["arr_0"].astype(int)

    shown = ("--control-image", images / "0.png", "--control-edges", "--control-scale")
    ignored, followed = drawn(*shown, 0), drawn(*shown, 1000)
    same = dataclasses.replace(load_run(base), settings=load_run(control).settings)
    plain = generate(same, prompt="a", num=2, steps=2)
    assert np.abs(ignored - plain.images.astype(int)).max() <= 1
    assert np.abs(followed - ignored).max() > 1
    assert sample.main(["--workdir", str(control), "--prompt", "a"]) == 2
    assert "--control-image F is missing" in capsys.readouterr().err
    assert sample.main(["--workdir", str(base), "--prompt", "a", *map(str, shown), "1"]) == 2
    assert "--control-image needs a model that follows an image" in capsys.readouterr().err


def split(model) -> tuple[dict, dict]:
    """Parameters of the U-Net and of its ControlNet."""
    params = model.network.params["params"]
    return params["unet"], params["controls_0"]
