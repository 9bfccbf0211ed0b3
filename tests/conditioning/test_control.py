"""Control images, beside another condition."""

import types
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import Control, Joined, Labels


def asked(**fields):
    """A request for samples of 4x6 pixels."""
    base = dict(control=None, control_scale=None, control_guess=False, height=4, width=6)
    return types.SimpleNamespace(**base | fields)


IMAGE = np.linspace(-1, 1, 72, dtype=np.float32).reshape(4, 6, 3)


def test_images_are_joined_along_the_channels_and_counted_by_sample():
    control = Control(channels=(3, 1))
    told, avoided = control.request(
        asked(control=[IMAGE, IMAGE[..., :1]], control_scale=[0.5, 2.0]), 2
    )
    condition = control.encode({}, told)
    assert condition["control"].shape == (2, 4, 6, 4)
    np.testing.assert_allclose(condition["control"][1, ..., 3], (IMAGE[..., 0] + 1) / 2, atol=1e-6)
    np.testing.assert_array_equal(condition["control_scale"], [[0.5, 2.0]] * 2)
    jax.tree.map(np.testing.assert_array_equal, told, avoided)


def test_in_guess_mode_the_unguided_guess_sees_nothing():
    control = Control(guess=((0.1, 1.0),))
    told, avoided = control.request(asked(control=IMAGE, control_scale=2.0, control_guess=True), 1)
    np.testing.assert_allclose(told["control_scale"], [[[0.2, 2.0]]])
    assert avoided["control_scale"].shape == (1, 1, 2) and not avoided["control_scale"].any()
    with pytest.raises(ValueError, match="a run of controlnet knows no guess mode"):
        Control().request(asked(control=IMAGE, control_guess=True), 1)


def test_training_reads_eight_bit_images():
    batch = {"control": np.array([[[[0, 51, 255]]]], np.uint8)}
    condition = Control().encode({}, Control().columns(batch))
    np.testing.assert_allclose(condition["control"], [[[[0.0, 0.2, 1.0]]]], atol=1e-6)
    assert "control_scale" not in condition


def test_joined_parts_tell_read_and_ask_together():
    joined = Joined((Labels(num_classes=3, dropout=1.0), Control()))
    assert joined.reads == ("label", "control")
    assert joined.asks == ("labels", "control", "control_scale", "control_guess")
    assert joined.num_classes == 3 and joined.params == {} and not joined.trained
    batch = {"label": np.array([1]), "control": np.zeros((1, 4, 6, 3), np.uint8)}
    told = {k: jnp.asarray(v) for k, v in joined.columns(batch).items()}
    dropped = joined.drop(jax.random.key(0), told)
    assert dropped["label"].tolist() == [3]  # the null label; the control stays
    np.testing.assert_array_equal(dropped["control"], told["control"])
    with pytest.raises(ValueError, match="two conditioners tell label"):
        Joined((Labels(num_classes=3), Labels(num_classes=3))).columns(batch)


class Reader:
    """A part with parameters that training learns."""

    params: ClassVar[dict] = {"table": np.ones(1)}
    trained = True

    def init(self, key):
        return {"table": jax.random.normal(key, (2,))}

    def with_params(self, params):
        other = Reader()
        other.params = params
        return other


def test_joined_parameters_are_those_of_the_parts():
    joined = Joined((Control(), Reader()))
    assert joined.trained and joined.params == {"part_1": Reader.params}
    assert joined.init(jax.random.key(0))["part_1"]["table"].shape == (2,)
    held = joined.with_params({"part_1": {"table": np.zeros(1)}})
    assert held.params == {"part_1": {"table": np.zeros(1)}}


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "give control="),
        ({"control": [IMAGE, IMAGE]}, "expected 1 control images"),
        ({"control": IMAGE[:2]}, "4x6, got 2x6"),
        ({"control": IMAGE, "control_scale": [1.0, 1.0]}, "control_scale"),
        ({"control": IMAGE, "control_scale": float("nan")}, "control_scale"),
    ],
)
def test_what_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Control().request(asked(**fields), 1)
