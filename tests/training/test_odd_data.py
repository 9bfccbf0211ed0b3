"""Data of other shapes from training to samples; what nobody can look at is not shown."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run

from diffax.data import ArrayFile
from diffax.generation import Sampling, generate
from diffax.losses import LearnedVariance
from diffax.objectives import Denoising
from diffax.solvers import DDPM
from diffax.training import load_run, prepare


class Any(nn.Module):
    """A dense layer over the last axis, whatever comes before it."""

    learned_variance: bool = False
    reads: ClassVar[tuple[str, ...]] = ()

    @nn.compact
    def __call__(self, x, t, condition, *, train=False):
        time = jnp.broadcast_to(t.reshape((-1,) + (1,) * (x.ndim - 1)) / 1000, (*x.shape[:-1], 1))
        h = nn.silu(nn.Dense(8)(jnp.concatenate([x, time], -1)))
        return nn.Dense(x.shape[-1] * (2 if self.learned_variance else 1))(h)


ALL = {"samples.png", "reverse.png", "q_sample.png", "forward.gif", "reverse.gif"}
SHAPES = {
    "latents": ((4, 4, 4), set()),
    "sequences": ((6, 3), {"samples.png"}),
    "float images": ((4, 4, 3), ALL),
    "vectors of five": ((5,), ALL),  # the first two coordinates
}


SLOW = ("sequences", "float images", "vectors of five")


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW else []) for k in SHAPES]
)
def test_arrays_of_any_shape(tmp_path, kind, capsys):
    shape, shown = SHAPES[kind]
    rng = np.random.default_rng(0)
    data = rng.normal(2.0, 3.0, (64, *shape)).astype(np.float32)
    np.save(tmp_path / "data.npy", data)
    config = tiny_run.tiny_config(steps=2, save_every=2, log_every=2, images=True, sample_every=1)
    config = dataclasses.replace(
        config,
        data=ArrayFile(dir=str(tmp_path / "data.npy")),
        objective=Denoising(network=Any()),
    )
    workdir = tmp_path / "run"
    assert tiny_run.run(workdir, config) == 0
    assert (workdir / "loss.png").is_file()
    looked_at = {p.name for p in workdir.glob("*.png")} - {"loss.png"}
    looked_at |= {p.name for p in workdir.glob("*.gif")}
    assert looked_at == shown
    assert (workdir / "samples").is_dir() == bool(shown)
    samples = generate(load_run(workdir), num=3)
    assert np.asarray(samples.data).shape == (3, *shape)
    assert "warning" not in capsys.readouterr().err


def test_without_images_only_numbers_are_left(tmp_path, whole):
    _, workdir, _ = whole
    assert {path.name for path in workdir.iterdir()} == {
        "config.json", "metrics.jsonl", "summary.json", "checkpoints",
    } | {p.name for p in workdir.glob(".*")}  # fmt: skip


def test_a_learned_variance_from_training_to_samples(tmp_path):
    config = tiny_run.tiny_config(steps=4, save_every=4)
    config = dataclasses.replace(
        config,
        objective=Denoising(network=Any(), variance=LearnedVariance(weight=0.01)),
        sample=Sampling(solver=DDPM("learned_range"), steps=3, num=4, clip=None),
    )
    assert tiny_run.run(tmp_path, config) == 0
    row = tiny_run.last_row(tmp_path)
    assert np.isfinite(row["vlb"]) and list(row)[-2:] == ["vlb", "learning_rate"]
    model = load_run(tmp_path)
    assert np.isfinite(np.asarray(generate(model, num=3).data)).all()
    other = LearnedVariance(kind="learned")
    for variance, words in ((None, "the network learns none"), (other, "learns learned; set")):
        wrong = dataclasses.replace(config, objective=Denoising(Any(), variance=variance))
        with pytest.raises(ValueError, match=f"variance is learned_range, .*{words}"):
            prepare(wrong)  # before anything is trained
