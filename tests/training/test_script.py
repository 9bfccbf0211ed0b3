"""Training from a script: library objects in, the same run as from a recipe."""

import json
from dataclasses import dataclass
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_run

from diffax.data import Toy
from diffax.generation import Sampling, generate
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import (
    Callback,
    Optimizer,
    Options,
    Recipe,
    load_run,
    open_run,
    train,
    train_recipe,
)
from diffax.training.transformation import Transformation

SETTINGS = dict(
    steps=8,
    batch_size=16,
    log_every=2,
    save_every=4,
    sample_every=0,
    tensorboard=False,
    images=False,
    workers=1,
)
OBJECTIVE = Denoising(VectorMLP(features=8, num_blocks=1))
X = np.random.default_rng(0).normal(size=(64, 2))


def fit(workdir, data=X, optimizer=None, objective=OBJECTIVE, **changes):
    optimizer = optax.adam(1e-2) if optimizer is None else optimizer
    sample = Sampling(steps=2, num=4, clip=None)
    return train(
        objective, data, optimizer, workdir, sample=sample, quiet=True, **SETTINGS | changes
    )


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a.trainable), jax.tree.leaves(b.trainable), strict=True):
        np.testing.assert_array_equal(x, y)


@dataclass
class Listener:
    steps: list
    rows: list
    saved: list

    def on_step(self, step, state):
        self.steps.append((step, int(state.step)))

    def on_log(self, step, values):
        self.rows.append((step, values))

    def on_save(self, step, folder):
        self.saved.append((step, (folder / "manifest.json").is_file()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, _cached):
    """An uninterrupted run, its folder, and what a callback heard."""
    workdir, listener = tmp_path_factory.mktemp("script") / "whole", Listener([], [], [])
    return fit(workdir, callbacks=[listener]), workdir, listener


def test_it_is_the_run_of_a_recipe(tmp_path, whole):
    run, workdir, _ = whole
    recipe = Recipe("same", "", tmp_path / "same.py", run.config)
    assert train_recipe(recipe, run.config, tmp_path, Options(quiet=True)) == 0
    assert_same(run, open_run(tmp_path))
    assert tiny_run.loss_curve(tmp_path) == tiny_run.loss_curve(workdir)


def test_callbacks_hear_everything(whole):
    _, workdir, listener = whole
    assert listener.steps == [(step, step) for step in range(1, 9)]
    lines = tiny_run.loss_curve(workdir).splitlines()
    assert [row for _, row in listener.rows] == [json.loads(line) for line in lines]
    assert "learning_rate" not in lines[0]  # it is the optimizer's own
    assert listener.saved == [(4, True), (8, True)]


class Rows:
    """A random-access source such as grain's and PyTorch's are."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {"x": X[i]}


def failing_at(number):
    def fail(step, _):
        if step == number:
            raise RuntimeError("mine")

    return fail


def test_a_run_continues_bitwise_and_knows_its_objects_again(tmp_path, whole):
    with pytest.raises(RuntimeError, match="mine"):  # loses nothing, and nothing of a line
        fit(tmp_path, callbacks=[Callback(on_step=failing_at(3))])
    assert open_run(tmp_path).step == 3
    cut = fit(tmp_path, data=Rows())  # the same examples in another form
    assert (cut.step, cut.model.shape, cut.dataset.spec.size) == (8, (2,), 64)
    assert_same(cut, whole[0])
    assert tiny_run.loss_curve(tmp_path) == tiny_run.loss_curve(whole[1])

    before = (tmp_path / "config.json").read_bytes()
    for other, message in (
        (dict(optimizer=optax.adam(1e-3)), "optimizer.method.fingerprint: .* -> "),
        (dict(optimizer=optax.sgd(1e-2)), "optimizer.method.state: .*ScaleByAdamState"),
        (dict(optimizer=Optimizer()), "optimizer.method: .*Transformation -> adam"),
        (dict(data=X + 1), "data.fingerprint: .* -> "),
        (dict(data=X[:-1]), "data.size: 64 -> 63"),
        (dict(data=Toy()), "data: .*Given -> toy"),
        (dict(batch_size=8), "train.batch_size: 16 -> 8"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            fit(tmp_path, steps=10, **other)
        assert "\n" not in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_the_folder_is_enough_to_draw_samples(whole):
    _, workdir, _ = whole
    assert json.loads((workdir / "config.json").read_text())["recipe"] == "a script"
    assert generate(load_run(workdir), num=3).data.shape == (3, 2)
    with pytest.raises(ValueError, match=r"64 x x float32 \[2\]\) were given by a script"):
        open_run(workdir).dataset.spec.size  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("event, saved", [("on_log", 4), ("on_save", 8)])
def test_an_exception_in_any_callback_loses_nothing(tmp_path, whole, event, saved):
    with pytest.raises(RuntimeError, match="mine"):
        fit(tmp_path, callbacks=[Callback(**{event: failing_at(saved)})])
    assert open_run(tmp_path).step == saved
    assert_same(fit(tmp_path), whole[0])
    assert tiny_run.loss_curve(tmp_path) == tiny_run.loss_curve(whole[1])


def test_optimizers_that_look_for_names_have_no_fingerprint():
    def slow(params):
        return jax.tree.map(lambda _: "slow", params["network"])

    optimizer = optax.multi_transform({"slow": optax.sgd(1e-4)}, slow)
    assert Transformation.of(optimizer).fingerprint == ""


class Bent(nn.Module):
    """A network with a function among its fields, as Flax users write them."""

    act: object = nn.silu
    dtype: object = jnp.float32
    reads = ()

    @nn.compact
    def __call__(self, x, t, condition=None, train=False):
        h = nn.Dense(8, dtype=self.dtype)(jnp.concatenate([x, t[:, None] / 1000], axis=-1))
        return nn.Dense(x.shape[-1])(self.act(h))


def test_a_folder_elsewhere_is_refused_at_once():
    with pytest.raises(ValueError, match="is no folder; expected one, or gs://BUCKET/RUN"):
        fit(Path("gs://bucket/run"))  # a Path keeps one of the slashes


def test_functions_are_known_by_their_names(tmp_path):
    objective = Denoising(Bent(act=nn.tanh))
    run = fit(tmp_path, objective=objective, steps=2)
    assert_same(run, fit(tmp_path, objective=objective, steps=2))
    with pytest.raises(ValueError, match=r"network.act: jax.*tanh -> jax.*silu"):
        fit(tmp_path, objective=Denoising(Bent()), steps=2)
    with pytest.raises(ValueError, match="objective.network.act is a function of a script"):
        load_run(tmp_path)
    assert_same(run, open_run(tmp_path, objective=objective))


# ---------------------------------------------------------------- bad input


def local_objective():
    @dataclass(frozen=True)
    class Local:
        reads = ()

    return Denoising(Local())


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(step=3), "train has no argument 'step'; nearest: steps"),
        (dict(callbacks=[print]), "expected callbacks with one of on_step, on_log, on_save"),
        (dict(optimizer=0.1), "expected an Optimizer or an optax transformation, got float"),
        (dict(objective=local_objective()), "defined inside a function"),
        (dict(data=iter([1])), "data with a length and data"),
        (dict(objective=Denoising(Bent(act=np.ones(2)))), "plain value, a noun or a function"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        fit(tmp_path / "run", **changes)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
