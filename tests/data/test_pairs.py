"""Pairs of samples and noise, written by one model and read by the next."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax import codecs, conditioning, parameterization, schedules
from diffax.data import Pairs
from diffax.generation import Model, Sampling, save_pairs
from diffax.models import BoundModule
from diffax.solvers import DDIM, DDPM


class Straight:
    """A network that always answers with the same velocity: every path is a straight line."""

    def apply(self, params, x, t, condition):
        return jnp.full_like(x, 2.0)


def model(conditioner):
    return Model(
        network=BoundModule(Straight(), {}),
        schedule=schedules.RectifiedFlow(),
        parameterization=parameterization.Velocity(),
        codec=codecs.Identity(),
        conditioner=conditioner,
        settings=Sampling(solver=DDIM(), steps=3, clip=None),
        shape=(2,),
    )


def test_pairs_belong_together(tmp_path):
    path = tmp_path / "pairs.npz"
    save_pairs(model(conditioning.Labels(num_classes=3)), path, num=7, seed=5)
    dataset = Pairs(str(path)).load()
    assert sorted(dataset.spec.columns) == ["label", "noise", "x"]
    assert dataset.spec.size == 7 and dataset.spec.num_classes == 3
    rows = dataset.examples(np.arange(7))
    np.testing.assert_allclose(rows["noise"] - rows["x"], 2.0, atol=1e-5)
    np.testing.assert_array_equal(rows["label"], np.arange(7) % 3)
    assert np.unique(rows["noise"]).size == 14


def test_a_solver_with_noise_of_its_own_is_refused(tmp_path):
    with pytest.raises(ValueError, match="DDPM has some; ask for sampler='ddim'"):
        save_pairs(model(conditioning.Nothing()), tmp_path / "p.npz", num=2, sampler="ddpm")
    assert DDPM.description.stochastic and not list(tmp_path.iterdir())


@pytest.mark.parametrize("arrays, message", [
    ({"x": np.zeros((3, 2))}, "has no array noise"),
    ({"x": np.zeros((3, 2)), "noise": np.zeros((3, 1))}, "floats of one shape"),
    ({"x": np.zeros((3, 2)), "noise": np.full((3, 2), np.nan)}, "finite"),
    ({"x": np.zeros((3, 2)), "noise": np.ones((3, 2)), "label": np.zeros(2, int)}, "labels [3]"),
])  # fmt: skip
def test_other_files_are_refused(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError) as error:
        Pairs(str(path)).load()
    assert message in str(error.value)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Pairs(str(tmp_path / "none.npz")).load()
