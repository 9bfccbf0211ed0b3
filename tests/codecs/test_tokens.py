"""Characters and grey levels as tokens."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffax import plotting
from diffax.codecs import Levels, Tokens
from diffax.data import Column, Spec
from diffax.image_range import to_uint8

TEXTS = Spec({"x": Column((6,), "int32")}, size=4, alphabet="\n abc")
IMAGES = Spec({"x": Column((8, 8, 1), "uint8")}, size=4)


def test_characters_go_there_and_back():
    codec = Tokens().fitted(TEXTS)
    assert codec.size == 5 and codec.shape((6,)) == (6,)
    ids = codec.ids("ab c\na")
    assert ids.dtype == np.int32 and codec.texts(ids[None]) == ["ab c\na"]
    np.testing.assert_array_equal(codec.decode(codec.encode(jnp.asarray(ids))), ids)
    assert Tokens(alphabet="xyz").fitted(TEXTS).alphabet == "xyz"


def test_strange_characters_and_data_are_refused():
    codec = Tokens().fitted(TEXTS)
    with pytest.raises(ValueError, match="the character 'é' is none of the 5 that this model"):
        codec.ids("abé")
    with pytest.raises(ValueError, match="tokens is for texts, the data are uint8"):
        Tokens().fitted(IMAGES)
    with pytest.raises(ValueError, match="levels is for uint8 images, the data are int32"):
        Levels().fitted(TEXTS)
    with pytest.raises(ValueError, match="levels must lie in 2 to 256"):
        Levels(levels=1)


def test_texts_are_written_and_drawn(tmp_path):
    codec = Tokens().fitted(TEXTS)
    data = np.stack([codec.ids("ab\ncab"), np.full(6, 5)])
    plotting.export(tmp_path / "a.txt", data, codec=codec)
    assert (tmp_path / "a.txt").read_text() == f"ab\ncab\n{20 * '-'}\n{6 * '░'}\n"
    plotting.export(tmp_path / "folder", data, codec=codec)
    assert (tmp_path / "folder" / "00000.txt").read_text() == "ab\ncab\n"
    page = plotting.drawn(data, codec)
    assert page.dtype == np.uint8 and page.min() < 50 and page.max() == 255
    other = plotting.drawn(data[::-1], codec)
    assert other.shape == page.shape and not np.array_equal(other, page)


def test_levels_go_there_and_back():
    codec = Levels(levels=17).fitted(IMAGES)
    grey = np.rint(np.arange(17) * 255 / 16).astype(np.uint8).reshape(1, 17, 1)
    ids = codec.encode(jnp.asarray(grey))
    assert ids.dtype == jnp.int32 and ids.ravel().tolist() == list(range(17))
    np.testing.assert_array_equal(to_uint8(np.asarray(codec.decode(ids))), grey)
    np.testing.assert_array_equal(codec.encode(codec.decode(ids)), ids)
    assert float(codec.decode(jnp.array([17]))[0]) == 0.0
