"""evaluate.py from end to end, on runs that are trained for a few steps."""

import dataclasses
import json
import re
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.commands import evaluate as command
from diffax.data import Digits
from diffax.evaluation import Evaluation, HeldOutLoss
from diffax.training import Options, load_recipe, train_recipe

CONFIGS = Path(__file__).parents[2] / "configs"


class Dull(nn.Module):
    """A network of 8 x 8 images with labels that compiles in no time."""

    num_classes: int | None = None
    reads: ClassVar[tuple[str, ...]] = ("label",)

    @nn.compact
    def __call__(self, x, t, condition=None, *, train=False):
        label = (condition or {}).get("label", jnp.full(t.shape, self.num_classes, jnp.int32))
        h = nn.Dense(8)(t[:, None] / 1000) + nn.Embed(self.num_classes + 1, 8)(label)
        return nn.Dense(64)(nn.silu(h)).reshape(x.shape) + nn.Dense(1)(x)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of labelled images and one of vectors."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("digits", "s_curve"):
        recipe = load_recipe(f"{name}:debug", CONFIGS)
        config = recipe.config
        options = {"steps": 4, "log_every": 2, "images": False, "sample_every": 0}
        config = dataclasses.replace(
            config,
            train=dataclasses.replace(config.train, tensorboard=False, **options),
            evaluation=Evaluation(every=2, metrics=(HeldOutLoss(num=16),)),
        )
        if name == "digits":
            objective = dataclasses.replace(config.objective, network=Dull())
            config = dataclasses.replace(config, objective=objective)
            recipe = dataclasses.replace(recipe, summarize=lambda run: {"sure": 0.25})
        else:
            recipe = dataclasses.replace(recipe, summarize=None)
        assert train_recipe(recipe, config, folder / name, Options(quiet=True)) == 0
    return folder


def measure(*arguments):
    return command.main([str(a) for a in (*arguments, "--quiet")])


LOSSES = ("loss_t1", "loss_t2", "loss_t3", "loss_t4")
OF_SAMPLES = ("nearest_median", "nearest_smallest", "nearest_novelty", "copied",
              "sure", "rarest", "commonest", "novelty")  # fmt: skip
CHEAP = ["--bound.num", 8, "--bound.parts", 4, "--flow.num", 8, "--flow.steps", 2,
         "--held_out_loss.num", 16]  # fmt: skip


@pytest.fixture(scope="module")
def digits(runs):
    """The JSON and the page of a run of images."""
    swept = ["--sweep", "steps=2,3", "--sweep", "guidance=1,3", "--num", 16]
    assert measure("--workdir", runs / "digits", *CHEAP, *swept) == 0
    folder = runs / "digits" / "evaluation"
    found = json.loads((folder / "evaluation.json").read_text())
    return found, (folder / "evaluation.html").read_text()


def test_averages_and_weights_are_measured_and_how_is_said(digits):
    found, _ = digits
    assert list(found["figures"]) == ["decay_0.9", "none"]
    for figures in found["figures"].values():
        assert {"held_out_loss", "held_out_loss_t1", "bound_bits", "flow_bits", "sure"} <= set(
            figures
        )
        assert np.isfinite(list(figures.values())).all()
    one, two = (figures["held_out_loss"] for figures in found["figures"].values())
    assert one != two
    low, high = found["intervals_95"]["none"]["bound_bits"]
    assert low < found["figures"]["none"]["bound_bits"] < high
    told = {"number": 16, "sampler": "ddim", "steps": 5, "guidance": None, "seed": 0}
    assert found["samples"] == told and "step 4" in found["source"]
    assert any(note.startswith("bound: 8 examples of test") for note in found["notes"])
    summary = found["summary_of_the_run"]
    assert summary["sure"] == 0.25
    assert summary["held_out_loss"] == pytest.approx(one, rel=1e-5)


def test_the_held_out_loss_is_that_of_training(digits, runs):
    rows = [json.loads(r) for r in (runs / "digits" / "metrics.jsonl").read_text().splitlines()]
    found = digits[0]["figures"]["decay_0.9"]["held_out_loss"]
    assert rows[-1]["step"] == 4 and rows[-1]["held_out_loss"] == pytest.approx(found, rel=1e-5)


def test_figures_of_samples_over_steps_and_guidance(digits):
    sweeps = digits[0]["sweeps"]
    assert [entry["value"] for entry in sweeps["steps"]] == [2, 3]
    assert [entry["value"] for entry in sweeps["guidance"]] == [1, 3]
    assert list(sweeps["steps"][0]) == ["value", *OF_SAMPLES]
    assert sweeps["steps"][0] != sweeps["steps"][1]


def test_the_page_holds_everything_and_asks_for_nothing(digits):
    _, page = digits
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|<script|@import|url\(", page)
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert titles == [
        "samples", "nearest pairs: samples above, training images below", "bound by time",
        *(f"{n} against {s}" for s in ("steps", "guidance") for n in OF_SAMPLES),
        "loss against training step",
        *(f"held_out_{n} against training step" for n in ("loss", *LOSSES)),
    ]  # fmt: skip
    assert "<td>0.25</td>" in page and "sampler ddim" in page


def test_a_run_of_vectors_with_chosen_metrics(runs, tmp_path, capsys):
    chosen = ["--metrics", "flow,sliced_wasserstein", "--num", 100, "--steps", 3, *CHEAP[4:8]]
    assert measure("--workdir", runs / "s_curve", *chosen, "--out", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(found["figures"]["decay_0.999"]) == {
        "flow_bits", "sliced_wasserstein", "sliced_wasserstein_of_real_data",
    }  # fmt: skip
    assert found["samples"]["steps"] == 3
    text = capsys.readouterr().out
    assert "sliced_wasserstein (lower is better)" in text and "evaluation.html" in text


def test_samples_in_a_file_against_data(tmp_path, capsys):
    real = Digits(split="test").load().arrays()
    np.savez(tmp_path / "real.npz", arr_0=real["x"][:50], arr_1=real["label"][:50])
    out = ["--out", tmp_path / "out"]
    chosen = ["--metrics", "digit_quality", "--reference", "digits"]
    assert measure("--samples", tmp_path / "real.npz", *chosen, *out) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["figures"]["samples"]["sure"] > 0.8
    assert found["samples"] == {"number": 50, "file": str(tmp_path / "real.npz")}


NAN = np.full((4, 2), np.nan, np.float32)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "expected one of --workdir DIR .*, got neither"),
        (["--workdir", "a", "--samples", "b"], "got --workdir and --samples"),
        (["--workdir", "{tmp}/none"], "none holds no run; train first"),
        (["--samples", "{tmp}/none.npz"], "there is no file .*none.npz"),
        (["--samples", "{tmp}/x.npz"], "nothing can be measured without more words"),
        (["--samples", "{tmp}/x.npz", "--metrics", "frechte"], "no metric is called 'frechte'; ne"),
        (["--samples", "{tmp}/x.npz", "--metrics", "flow"], "a likelihood needs a model"),
        (["--samples", "{tmp}/x.npz", "--metrics", "digit_quality"], r"uint8 \[N, 8, 8, 1\], got"),
        (["--samples", "{tmp}/x.npz", "--metrics", "sliced_wasserstein"], "with --reference"),
        (
            ["--samples", "{tmp}/x.npz", "--metrics", "sliced_wasserstein", "--reference", "toi"],
            "no data set is called so; nearest: toy",
        ),
        (["--samples", "{tmp}/nan.npz", "--metrics", "flow"], "finite"),
        (["--samples", "{tmp}/x.npz", "--metrics", "flow", "--flow.steps", "x"], "a whole number"),
        (
            ["--samples", "{tmp}/x.npz", "--metrics", "flow", "--flow.stepz", "1"],
            "nearest: .*steps",
        ),
        (["--samples", "{tmp}/x.npz", "--metrics", "flow", "--flaw", "1"], "unknown option --flaw"),
        (["--samples", "{tmp}/x.npz", "--sweep", "size=3"], "should be steps=5,10,20"),
        (["--samples", "{tmp}/x.npz", "--trust"], "--trust has a meaning only with --workdir"),
        (["--samples", "{tmp}/x.npz", "--guidance", "2"], "--guidance has a meaning only with a m"),
        (["--samples", "{tmp}/x.npz", "--seed", "0"], "--seed has a meaning only with a model"),
        (["--samples", "{tmp}/x.npz", "--features", "inceptoin"], "nearest: inception"),
        (
            ["--samples", "{tmp}/x.npz", "--metrics", "frechet", "--features", "inception"]
            + ["--reference", "toy"],
            "no Inception weights: download https.*--features.path",
        ),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFAX_INCEPTION", raising=False)
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((4, 2), np.float32))
    np.savez(tmp_path / "nan.npz", arr_0=NAN)
    assert measure(*(a.format(tmp=tmp_path) for a in arguments)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and re.search(words, told), told
    assert not list(tmp_path.glob("evaluation*"))


def test_a_wrong_checksum_and_too_few_samples(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((1, 8, 8, 1), np.uint8))
    frechet = ["--samples", "x.npz", "--metrics", "frechet", "--reference", "digits"]
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    given = ["--features", "inception", "--features.path", "weights.pth"]
    assert measure(*frechet, *given) == 2
    assert "SHA-256 6726825d..., got" in capsys.readouterr().err
    assert measure(*frechet, *given[:2], "--num", 1) == 2
    assert "at least 2 examples" in capsys.readouterr().err


@pytest.mark.slow
def test_a_published_model(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "pretrained"))
    import tiny_pipelines

    tiny_pipelines.components("sd").save(tmp_path / "sd")
    known = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "known.npz", arr_0=known)
    asked = ["--prompt", "a cat", "--num", 4, "--steps", 2, "--metrics", "copies"]
    told = ["--reference", tmp_path / "known.npz", "--out", tmp_path / "out"]
    assert measure("--pretrained", tmp_path / "sd", *asked, *told) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(found["figures"]) == ["published"]
    assert found["figures"]["published"]["nearest_median"] > 0
    assert found["samples"]["number"] == 4 and "Scheduler" in found["samples"]["sampler"]
