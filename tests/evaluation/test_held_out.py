"""The loss on data that training does not see, while training."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from diffax.data import ArrayFile, Digits, Toy
from diffax.evaluation import BoundBits, Evaluation, FlowBits, HeldOutLoss, Watched
from diffax.models import UNet, VectorMLP
from diffax.objectives import Denoising
from diffax.training import (
    Config,
    EMAConfig,
    Options,
    Recipe,
    TrainConfig,
    choices,
    prepare,
    train_recipe,
)
from diffax.training.watch import make_evaluate
from diffax.training.watch import watched as view


def watched(loss, data=None):
    return Watched(None, data or Digits(), None, loss)


def test_the_same_examples_and_noise_every_time_and_every_example_once():
    seen = []

    def loss(batch, key):
        seen.append((batch["label"], jax.random.key_data(key)))
        return {"loss": float(len(seen) % 2)}

    metric = HeldOutLoss(num=300)
    first = metric(watched(loss))
    calls, seen[:] = list(seen), []
    metric(watched(loss))
    for (a, ka), (b, kb) in zip(calls, seen, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(ka, kb)
    assert [len(label) for label, _ in calls] == [256, 256]
    # 256 examples at loss 1, 44 at loss 0.
    assert first == {"held_out_loss": pytest.approx(256 / 300)}


def test_data_without_splits_are_refused():
    with pytest.raises(ValueError, match="ArrayFile has none"):
        HeldOutLoss()(watched(None, ArrayFile(dir="x.npy")))


def test_every_so_many_steps_in_the_metrics_and_the_best_is_kept(tmp_path):
    config = Config(
        data=Toy("moons", num=256, labels=False),
        objective=Denoising(network=VectorMLP(features=16, num_blocks=1)),
        ema=EMAConfig(decays=(0.9,)),
        train=TrainConfig(
            steps=12, batch_size=32, log_every=6, save_every=4, sample_every=0, keep_last=1,
            keep_best="flow_bits", tensorboard=False, images=False,
        ),
        evaluation=Evaluation(
            every=4,
            metrics=(HeldOutLoss(num=64), BoundBits(num=32, parts=4), FlowBits(num=32, steps=4)),
        ),
    )  # fmt: skip
    assert choices.from_json(choices.to_json(config)) == config
    recipe = Recipe("moons", "", Path("moons.py"), config)
    assert train_recipe(recipe, config, tmp_path, Options(quiet=True)) == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    held_out = {row["step"]: row["held_out_loss"] for row in rows if "held_out_loss" in row}
    assert set(held_out) == {4, 8, 12} and {row["step"] for row in rows} == {4, 6, 8, 12}
    assert all("held_out_loss_t1" in row for row in rows if row["step"] in held_out)
    assert all("bound_bits_t1" in row for row in rows if row["step"] in held_out)
    flow = {row["step"]: row["flow_bits"] for row in rows if "flow_bits" in row}
    best = min(flow, key=flow.get)
    kept = {int(p.name) for p in (tmp_path / "checkpoints").iterdir()}
    assert kept == {best, 12}


@pytest.mark.slow
def test_parameters_alone_make_the_difference():
    """Twice the same parameters: the same figure to the last bit."""
    config = Config(
        data=Digits(), objective=Denoising(network=_tiny()), train=TrainConfig(batch_size=8)
    )
    setup = prepare(config)
    state, frozen = setup.start()
    evaluate = make_evaluate(setup)
    one, two = (
        HeldOutLoss(num=16)(view(setup, evaluate, state.trainable, frozen, None)) for _ in range(2)
    )
    assert one == two and one["held_out_loss"] > 0
    other = jax.tree.map(lambda p: p + 0.1, state.trainable)
    assert HeldOutLoss(num=16)(view(setup, evaluate, other, frozen, None)) != one
    assert dataclasses.replace(HeldOutLoss(), seed=1) != HeldOutLoss()


def _tiny():
    return UNet(channels=8, multipliers=(1,), num_res_blocks=1, attention_resolutions=())
