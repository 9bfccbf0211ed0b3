"""The denoising objective: what is learned, shown and measured, for any data and condition."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, parameterization, schedules
from diffax.adapters import Subset
from diffax.codecs import Identity
from diffax.conditioning import Captions, Labels, Nothing
from diffax.data import Column, Spec
from diffax.generation import Sampling
from diffax.losses import LearnedVariance
from diffax.models import StepMLP, UNet, VectorMLP
from diffax.noun import noun
from diffax.objectives import BY_NAME, Denoising

VECTORS = Spec({"x": Column((2,), "float32")}, size=4, mean=(0.0, 0.0), std=(1.0, 1.0))
CLASSES = dataclasses.replace(
    VECTORS,
    columns={"x": Column((2,), "float32"), "label": Column((), "int32")},
    class_names=("a", "b", "c"),
)
TEXTS = dataclasses.replace(
    VECTORS, columns={"x": Column((2,), "float32"), "caption": Column((), "str")}
)
IMAGES = Spec({"x": Column((8, 8, 1), "uint8")}, size=4)


class Linear(nn.Module):
    """Answers with what is linear in x, t and a label; with `twice`, a log-variance too."""

    num_classes: int | None = None
    dropout: float = 0.0
    learned_variance: bool = False
    reads: ClassVar[tuple[str, ...]] = ("label",)

    @nn.compact
    def __call__(self, x, t, condition, *, train=False):
        size = x.shape[-1] * (2 if self.learned_variance else 1)
        h = nn.Dense(size)(jnp.concatenate([x, t[:, None] / 1000], axis=-1))
        if "label" in condition:  # its table exists only where a condition was seen
            h = h + nn.Embed(self.num_classes + 1, size)(condition["label"])
        return nn.Dropout(self.dropout)(h, deterministic=not train)


def built(spec=VECTORS, network=None, **fields):
    """An objective with its parameters: (objective, trainable, frozen)."""
    objective = Denoising(network=network or Linear(), **fields).build(spec)
    example = {"x": jax.ShapeDtypeStruct((1, *spec.shape), spec.columns["x"].dtype)}
    example |= objective.told
    init = jax.jit(lambda key, loaded: objective.init(key, example, loaded))
    return objective, *init(jax.random.key(0), objective.loaded)


def batch_of(size: int = 8, seed: int = 0, **columns) -> dict:
    return {"x": jax.random.normal(jax.random.key(seed), (size, 2))} | columns


def gradient(objective, trainable, frozen, batch, seed: int = 0):
    def loss(trainable):
        return objective.loss(trainable, frozen, batch, jax.random.key(seed))[0]

    return jax.jit(jax.grad(loss))(trainable)


def loss_of(objective, trainable, frozen, batch, seed: int = 0, train: bool = True):
    """The loss and its metrics, compiled as a whole."""
    loss = jax.jit(objective.loss, static_argnames="train")
    return loss(trainable, frozen, batch, jax.random.key(seed), train=train)


def test_it_has_a_name():
    assert BY_NAME["denoising"] is Denoising


def test_the_loss_is_the_mean_of_its_quartiles():
    objective, trainable, frozen = built()
    value, metrics = loss_of(objective, trainable, frozen, batch_of(64), 1)
    assert value.shape == () and value.dtype == jnp.float32
    assert sorted(metrics) == ["loss_t1", "loss_t2", "loss_t3", "loss_t4"]
    total = sum(float(m.total) for m in metrics.values())
    count = sum(float(m.count) for m in metrics.values())
    assert count == 64 and total / count == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("times, schedule", [
    (losses.Uniform(), schedules.Cosine()),
    (losses.Stratified(), schedules.RectifiedFlow()),
    (losses.LogNormal(), schedules.EDM()),
    (losses.LogitNormal(), schedules.RectifiedFlow()),
    (losses.Antithetic(), schedules.Linear(num_steps=50, zero_terminal_snr=True)),
])  # fmt: skip
def test_each_quartile_of_time_gets_a_quarter(times, schedule):
    objective, trainable, frozen = built(
        times=times, schedule=schedule, parameterization=parameterization.EDM()
    )
    loss = jax.jit(objective.loss)
    _, metrics = loss(trainable, frozen, batch_of(4000), jax.random.key(0))
    share = np.array([float(m.count) for m in metrics.values()]) / 4000
    np.testing.assert_allclose(share, 0.25, atol=0.035)  # 5 standard deviations of 4,000 draws


@pytest.mark.slow
def test_second_moments_are_learned_beside_the_parameters():
    """One plain step of size 1 along the gradient is what they become; adapters do not see them."""
    times = losses.SecondMoment(bins=4)
    objective, trainable, frozen = built(times=times, adapter=Subset("bias$"))
    batch, key = batch_of(64), jax.random.key(1)
    slope = gradient(objective, trainable, frozen, batch, 1)["assigned"]["times"]
    known = jax.tree.map(jnp.subtract, trainable["assigned"]["times"], slope)
    assert known["count"].sum() == 64 and bool(jnp.all(known["moment"] > 0))
    value, _ = loss_of(objective, trainable, frozen, batch, 1)
    shown = objective.shown(trainable, frozen, batch, key)
    plain, _ = losses.diffusion_loss(
        shown.network.apply, shown.network.params, shown.x0, shown.key, schedule=shown.schedule,
        parameterization=objective.parameterization, times=times, weighting=objective.weighting,
    )  # fmt: skip
    assert float(value) == pytest.approx(float(plain), rel=1e-6)  # the added term is 0
    later = trainable | {"assigned": {"times": jax.tree.map(lambda n: 20 * n, known)}}
    drawn, measured = (
        [loss_of(objective, one, frozen, batch, 1, train)[0] for one in (trainable, later)]
        for train in (True, False)
    )
    assert drawn[0] != drawn[1] and measured[0] == measured[1]
    assert objective.model(later, frozen, Sampling()).network.params


@pytest.mark.slow
def test_how_large_the_loss_is_is_learned_along():
    head = losses.Uncertainty(waves=8)
    objective, trainable, frozen = built(uncertainty=head, adapter=Subset("bias$"))
    plain, *_ = built(adapter=Subset("bias$"))
    batch = batch_of(64)
    value, _ = loss_of(objective, trainable, frozen, batch)
    unchanged = float(loss_of(plain, trainable, frozen, batch)[0])
    assert float(value) == pytest.approx(unchanged, rel=1e-6)
    slope = gradient(objective, trainable, frozen, batch)["uncertainty"]["weights"]
    assert float(jnp.abs(slope).max()) > 0
    sure = trainable | {"uncertainty": {"weights": -slope}}
    assert loss_of(objective, sure, frozen, batch)[0] < value
    # What is measured is the loss itself.
    pair = [loss_of(objective, one, frozen, batch, train=False)[0] for one in (trainable, sure)]
    assert pair[0] == pair[1]


def test_guidance_needs_something_to_be_guided_by():
    built(CLASSES)[0].check_sampling(Sampling(guidance=2.0))
    built()[0].check_sampling(Sampling(guidance=1.0))
    with pytest.raises(ValueError, match="sample.guidance is 2, and the network is told nothing"):
        built()[0].check_sampling(Sampling(guidance=2.0))


# ---------------------------------------------------------------- conditions


def test_the_network_is_initialised_with_a_real_condition():
    objective, trainable, _ = built(CLASSES)
    table = trainable["network"]["params"]["Embed_0"]["embedding"]
    assert table.shape == (4, 2)  # three classes and the null label
    assert objective.network.num_classes == 3
    _, plain, _ = built(CLASSES, conditioner=Nothing())
    assert "Embed_0" not in plain["network"]["params"]


def test_labels_reach_the_network_and_the_null_label_is_learned():
    batch = batch_of(label=jnp.arange(8) % 3)
    for dropout, moved in ((1.0, [False, False, False, True]), (0.0, [True, True, True, False])):
        objective, trainable, frozen = built(CLASSES, conditioner=Labels(dropout=dropout))
        slope = gradient(objective, trainable, frozen, batch)
        slope = np.abs(slope["network"]["params"]["Embed_0"]["embedding"]).sum(axis=1)
        assert (slope > 0).tolist() == moved


def test_without_training_nothing_is_dropped():
    objective, trainable, frozen = built(
        CLASSES, Linear(dropout=0.9), conditioner=Labels(dropout=1.0)
    )
    batch = batch_of(label=jnp.arange(8) % 3)
    loss = jax.jit(objective.loss, static_argnames="train")

    def value(train, label_shift=0):
        shown = batch | {"label": (batch["label"] + label_shift) % 3}
        return float(loss(trainable, frozen, shown, jax.random.key(0), train=train)[0])

    assert value(True) == value(True, 1)  # every label was dropped
    assert value(False) != value(False, 1)  # none was
    assert value(False) == value(False) != value(True)


def test_captions_reach_the_network_through_an_encoder_that_is_trained():
    class Told(nn.Module):
        embedding_size: int | None = None
        reads: ClassVar[tuple[str, ...]] = ("embedding",)

        @nn.compact
        def __call__(self, x, t, condition, *, train=False):
            assert condition["embedding"].shape[-1] == self.embedding_size
            return nn.Dense(2)(jnp.concatenate([x, condition["embedding"]], -1))

    captions = Captions(length=8, width=8, depth=1, num_heads=2, dropout=0.0)
    objective, trainable, frozen = built(TEXTS, Told(), conditioner=captions)
    assert objective.network.embedding_size == 8 and frozen == {}
    assert sorted(trainable) == ["conditioner", "network"]
    batch = batch_of(2) | objective.columns({"x": None, "caption": np.array(["ab", "c"])})
    batch = {"x": batch_of(2)["x"], "tokens": jnp.asarray(batch["tokens"])}
    slope = gradient(objective, trainable, frozen, batch)
    rows = np.abs(slope["conditioner"]["params"]["byte"]["embedding"]).sum(axis=1)
    assert (rows[[ord("a"), ord("b"), ord("c")]] > 0).all() and rows[ord("d")] == 0
    model = objective.model(trainable, frozen, Sampling())
    assert model.conditioner.params is trainable["conditioner"]


@noun
class Frozen:
    """A conditioner with parameters that were read from a file."""

    params: Any = dataclasses.field(default_factory=lambda: {"table": jnp.arange(6.0)})
    reads: ClassVar[tuple[str, ...]] = ("label",)
    asks: ClassVar[tuple[str, ...]] = ("labels",)
    trained: ClassVar[bool] = False

    def fitted(self, spec):
        return self

    def with_params(self, params):
        return dataclasses.replace(self, params=params)

    def init(self, key):
        return {}

    def columns(self, batch):
        return {"label": batch["label"]}

    def drop(self, key, told):
        return told

    def encode(self, params, told):
        return {"label": params["table"][told["label"]].astype(jnp.int32)}


def test_what_was_loaded_and_is_not_trained_is_frozen():
    objective, trainable, frozen = built(CLASSES, Linear(num_classes=5), conditioner=Frozen())
    assert sorted(trainable) == ["network"] and sorted(frozen) == ["conditioner"]
    np.testing.assert_array_equal(frozen["conditioner"]["table"], jnp.arange(6.0))
    batch = batch_of(label=jnp.arange(8) % 3)
    other = {"conditioner": {"table": frozen["conditioner"]["table"][::-1]}}
    values = [loss_of(objective, trainable, f, batch)[0] for f in (frozen, other)]
    assert values[0] != values[1]  # it is an argument, not what the noun held
    model = objective.model(trainable, other, Sampling())
    np.testing.assert_array_equal(model.conditioner.params["table"], jnp.arange(6.0)[::-1])


# ---------------------------------------------------------------- learned variance


def test_a_learned_variance_is_trained_and_its_bound_measured():
    objective, trainable, frozen = built(variance=LearnedVariance(weight=0.01))
    assert objective.network.learned_variance
    value, metrics = loss_of(objective, trainable, frozen, batch_of())
    assert metrics["vlb"].shape == () and np.isfinite(float(metrics["vlb"]))
    mse = sum(float(metrics[f"loss_t{i}"].total) for i in (1, 2, 3, 4)) / 8
    assert float(value) == pytest.approx(mse + 0.01 * float(metrics["vlb"]), rel=1e-4)
    slope = gradient(objective, trainable, frozen, batch_of())
    assert np.abs(slope["network"]["params"]["Dense_0"]["kernel"][:, 2:]).max() > 0
    model = objective.model(trainable, frozen, Sampling())
    assert model.network(jnp.zeros((1, 2)), jnp.zeros(1), {}).shape == (1, 4)


@pytest.mark.parametrize(
    "spec, fields, words",
    [
        (VECTORS, dict(network=VectorMLP(), variance=LearnedVariance()), "twice the channels"),
        (VECTORS, dict(network=Linear(learned_variance=True)), r"with \[4\]; expected \[2\]"),
        (
            VECTORS,
            dict(network=Linear(), variance=LearnedVariance(), schedule=schedules.VP()),
            "needs a schedule that is a table",
        ),
        (VECTORS, dict(network=UNet(channels=8)), "UNet"),
        (IMAGES, dict(network=VectorMLP()), "VectorMLP"),
        (
            IMAGES,
            dict(network=UNet(channels=8, multipliers=(1, 2), attention_resolutions=(4, 5))),
            "no level has a side of 5; images of 8x8 have the levels 8x8, 4x4",
        ),
        (CLASSES, dict(network=VectorMLP(num_classes=2)), "num_classes is 2, there are 3 classes"),
        (CLASSES, dict(network=StepMLP(num_steps=1000)), "StepMLP reads no condition"),
        (VECTORS, dict(network=StepMLP(num_steps=10)), "knows 10 times, the schedule has 1000"),
        (TEXTS, dict(network=VectorMLP()), "nothing reads them: set --conditioner captions"),
        (
            VECTORS,
            dict(network=VectorMLP(), adapter=Subset("nothing")),
            None,  # found when the parameters are split
        ),
        (VECTORS, dict(network=VectorMLP(), conditioner=Labels()), "needs data with classes"),
        (VECTORS, dict(network=VectorMLP(num_classes=3)), "no classes reach the network"),
    ],
)
def test_parts_that_do_not_fit_are_one_line(spec, fields, words):
    if words is None:
        with pytest.raises(ValueError, match="'nothing' matches no parameter"):
            built(spec, **fields)
        return
    with pytest.raises(ValueError, match=words) as error:
        Denoising(**fields).build(spec)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- chance, codecs, the model


def test_times_noise_and_dropout_have_keys_of_their_own():
    objective, trainable, frozen = built(network=Linear(dropout=0.5), codec=Identity())
    seen = []

    @noun
    class Spy(Identity):
        def encode(self, raw, key=None):
            seen.append(key)
            return raw

    spied = dataclasses.replace(objective, codec=Spy())
    a = loss_of(objective, trainable, frozen, batch_of(), 3)[0]
    assert loss_of(spied, trainable, frozen, batch_of(), 3)[0] == a
    assert len(seen) == 1 and seen[0].shape == ()  # a key, for codecs that draw
    assert loss_of(objective, trainable, frozen, batch_of(), 4)[0] != a


def test_the_model_has_the_parts_of_the_run():
    objective, trainable, frozen = built(CLASSES, schedule=schedules.Linear(num_steps=1000))
    model = objective.model(trainable, frozen, Sampling(steps=3))
    assert model.shape == (2,) and model.settings == Sampling(steps=3)
    assert model.codec.mean == (0.0, 0.0) and model.conditioner.names == ("a", "b", "c")
    assert model.schedule.num_steps == 1000
    assert model.network.params is trainable["network"]
