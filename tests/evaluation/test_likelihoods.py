"""Bits per dimension of models that are exact: what they say is what the density says."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, conditioning, parameterization, schedules
from diffax.data import Column, Dataset, Digits, Source
from diffax.evaluation import BoundBits, FlowBits, Learned, Watched
from diffax.generation import Model, Sampling
from diffax.models import BoundModule
from diffax.solvers import DDPM

STD = np.asarray([2.0, 0.5])
SLOW = pytest.mark.slow
TABLE = schedules.cosine(100)


@dataclasses.dataclass(frozen=True)
class Normal:
    """Vectors from N(1, diag(std^2)) times `scale`."""

    scale: float = 1.0
    split: str = "train"

    def load(self):
        x = np.random.default_rng(0).normal(size=(600, 2)) * STD + 1
        x = (x * self.scale).astype(np.float32)
        columns = {"x": Column((2,), "float32")}
        mean, std = (1.0 * self.scale,) * 2, tuple((STD * self.scale).tolist())
        return Dataset("normal", Source(columns, 600, lambda r: {"x": x[r]}, mean=mean, std=std))


class Zero(nn.Module):
    """v = 0 is the exact answer for data from N(0, I) on a variance-preserving schedule."""

    channels: int = 1  # times the data's
    reads: ClassVar[tuple[str, ...]] = ()

    @nn.compact
    def __call__(self, x, t, condition=None, *, train=False):
        return jnp.zeros((*x.shape[:-1], self.channels * x.shape[-1]))


def watched(data, codec, shape, schedule=TABLE, channels=1, **settings):
    model = Model(
        BoundModule(Zero(channels), {}), schedule, parameterization.V(),
        codec.fitted(data.load().spec), conditioning.Nothing(),
        Sampling(**{"clip": None} | settings), shape,
    )  # fmt: skip
    return Watched(model, data, data.load(), None)


def normal(scale=1.0, **options):
    return watched(Normal(scale), codecs.Standardize(), (2,), **options)


def density_bits(x):
    """Mean of `-log2 p` an entry under N(1, std^2)."""
    return float((0.5 * ((x - 1) / STD) ** 2 + 0.5 * np.log(2 * np.pi * STD**2)).mean() / np.log(2))


def test_the_flow_of_an_exact_model_gives_the_density_of_the_data_themselves():
    measured = FlowBits(num=300, steps=10).measure(normal())
    x = Normal().load().arrays()["x"][:300]
    assert measured.figures["flow_bits"] == pytest.approx(density_bits(x), abs=0.005)
    low, high = measured.intervals["flow_bits"]
    assert low < density_bits(x) < high and high - low < 0.2
    assert "300 examples of test, 10 steps of rk4, exact trace, density" in measured.notes[0]


def test_the_bound_lies_above_and_is_the_sum_of_its_parts():
    figures = BoundBits(num=300, parts=None, variance="fixed_large")(normal())
    entropy = density_bits(Normal().load().arrays()["x"][:300])
    # The large variance is the best for such data (Ho et al. 2020, sec. 3.2): only the decoder,
    # whose variance is the small one, costs something: 0.22 bits where beta_2 = beta_1.
    assert entropy < figures["bound_bits"] < entropy + 0.4
    parts = [figures[f"bound_bits_t{i}"] for i in (1, 2, 3, 4)] + [figures["bound_bits_prior"]]
    assert figures["bound_bits"] == pytest.approx(sum(parts), rel=1e-6)
    drawn = BoundBits(num=600, parts=20, variance="fixed_large").measure(normal())
    assert drawn.figures["bound_bits"] == pytest.approx(figures["bound_bits"], abs=0.15)
    curve = drawn.curves["bound by time"]
    assert len(curve.x) == len(curve.y) == 20
    total = 5 * float(np.sum(curve.y)) + drawn.figures["bound_bits_prior"]
    assert drawn.figures["bound_bits"] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(
    "metric", [FlowBits(num=64, steps=4), pytest.param(BoundBits(num=64, parts=5), marks=SLOW)]
)
def test_data_twice_as_wide_take_one_bit_more(metric):
    (one, *_), (two, *_) = (metric(normal(scale)).values() for scale in (1.0, 2.0))
    assert two - one == pytest.approx(1.0, abs=1e-4)
    assert metric(normal()) == metric(normal())  # the same noise every time


def test_images_take_bits_of_their_levels():
    seen = watched(Digits(), codecs.Pixels(), (8, 8, 1))
    x = Digits(split="test").load().arrays()["x"][:32] / 127.5 - 1
    # Standard normal, and the variance of a bin on top.
    nats = 0.5 * (x**2).mean() + 0.5 / 12 / 127.5**2 + 0.5 * np.log(2 * np.pi)
    wanted = (nats + np.log(127.5)) / np.log(2)
    # Two probes are exact where the Jacobian is diagonal, as here.
    measured = FlowBits(num=32, steps=10).measure(seen)
    assert measured.figures["flow_bits"] == pytest.approx(wanted, abs=0.005)
    assert "2 probes, 8-bit levels, even dequantization" in measured.notes[0]
    assert BoundBits(num=32, parts=4).measure(seen).notes[0].endswith("fixed_small, 8-bit levels")


@pytest.mark.slow
def test_images_whose_place_in_their_bins_is_learned_take_no_more_bits():
    """N(0, I) is nearly even within a bin of 2/255: there is next to nothing to be gained."""
    seen = watched(Digits(), codecs.Pixels(), (8, 8, 1))
    even = FlowBits(num=64, steps=10).measure(seen)
    learned = FlowBits(num=64, steps=10, dequantization=Learned(steps=20)).measure(seen)
    assert learned.figures["flow_bits"] == pytest.approx(even.figures["flow_bits"], abs=0.01)
    assert "8-bit levels, learned dequantization" in learned.notes[0]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"solver": DDPM("fixed_large")}, "variance fixed_large"),
        ({"channels": 2}, "variance learned_range"),
        pytest.param(
            {"channels": 2, "solver": DDPM("learned")}, "learned,", marks=pytest.mark.slow
        ),
    ],
)
def test_the_variance_is_the_models_own(options, words):
    measured = BoundBits(num=4, parts=4).measure(normal(**options))
    assert words in measured.notes[0] and np.isfinite(measured.figures["bound_bits"])


def test_what_has_no_such_likelihood_says_so():
    with pytest.raises(ValueError, match="a table, got VP; use flow"):
        BoundBits()(normal(schedule=schedules.VP().build()))
    for metric in (BoundBits(), FlowBits()):
        with pytest.raises(ValueError, match="model"):
            metric(Watched(None, Normal(), None, None))
    seen = normal()
    lossy = dataclasses.replace(seen.model, codec=object())
    for metric in (BoundBits(), FlowBits()):
        with pytest.raises(ValueError, match="a codec that can be undone: pixels, .* is object"):
            metric(dataclasses.replace(seen, model=lossy))
    with pytest.raises(ValueError, match="variance should be one of fixed_small, .*'large'"):
        BoundBits(variance="large")
    with pytest.raises(ValueError, match="method should be one of heun, rk4, adaptive"):
        FlowBits(method="euler")
    with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
        FlowBits(steps=0)


def test_the_codecs_stretch_is_their_jacobian():
    raw = jnp.asarray([[0.3, -2.0]])
    codec = codecs.Standardize(mean=1.0, std=(2.0, 0.5))
    jacobian = jax.jacfwd(lambda x: codec.encode(x[None])[0])(raw[0])
    assert codec.log_stretch((2,)) == pytest.approx(float(jnp.linalg.slogdet(jacobian)[1]))
    assert codecs.Standardize(mean=0.0, std=2.0).log_stretch((3, 2)) == -6 * np.log(2)
    assert codecs.Identity().log_stretch((4,)) == 0
    assert codecs.Pixels().log_stretch((8, 8, 1)) == pytest.approx(-64 * np.log(127.5))
