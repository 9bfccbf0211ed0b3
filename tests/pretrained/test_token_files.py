"""Files of textual inversion, on the tiny models."""

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_models as tiny
import tiny_pipelines
from test_addons import ASKED, close

from diffax.generation import text_to_image
from diffax.pretrained import components_of, save_embedding, token_vectors, with_embedding
from diffax.pretrained.parts import text_of


@pytest.fixture(scope="module")
def model():
    return tiny_pipelines.pipeline("sd")


def written(folder, name="toy.safetensors", **tensors):
    safetensors.numpy.save_file(tensors, folder / name)
    return folder / name


@pytest.mark.slow
def test_images_are_the_references(model, tmp_path):
    vectors = tiny.token_vectors()
    extended = with_embedding(model, written(tmp_path, **{"<toy>": vectors["<toy>"]}))
    extended = with_embedding(
        extended, written(tmp_path, "dot.safetensors", emb_params=vectors["dot"])
    )
    close(text_to_image(extended, tiny.TOKEN_PROMPTS, **ASKED), "tokens")


def test_a_written_file_is_read_again(model, tmp_path):
    rows = tiny.draws("token", 3, 32)
    extended = with_embedding(model, written(tmp_path, **{"<toy>": rows}))
    extended = with_embedding(extended, written(tmp_path, other=rows[0]), token="<other>")
    save_embedding(extended, "<toy>", tmp_path / "new.safetensors")
    (again,) = safetensors.numpy.load_file(tmp_path / "new.safetensors").items()
    assert again[0] == "<toy>"
    np.testing.assert_array_equal(again[1], rows)
    (other,) = token_vectors(text_of(extended), "<other>")
    np.testing.assert_array_equal(other, rows[:1])
    with pytest.raises(FileExistsError):
        save_embedding(extended, "<toy>", tmp_path / "new.safetensors")
    with pytest.raises(ValueError, match="none of the new tokens"):
        save_embedding(extended, "<missing>", tmp_path / "missing.safetensors")


def test_the_base_model_is_saved_without_it(model, tmp_path):
    extended = with_embedding(model, written(tmp_path, **{"<toy>": tiny.draws("token", 3, 32)}))
    saved, base = components_of(extended), components_of(model)
    assert saved.tokenizers == base.tokenizers
    assert saved.text_encoders[0].module == base.text_encoders[0].module
    jax.tree.map(
        np.testing.assert_array_equal,
        saved.text_encoders[0].params,
        base.text_encoders[0].params,
    )


@pytest.mark.slow
def test_both_encoders_of_xl(tmp_path):
    model = tiny_pipelines.pipeline("sdxl")
    both = {"clip_l": tiny.draws("l", 2, 32), "clip_g": tiny.draws("g", 2, 32)}
    extended = with_embedding(model, written(tmp_path, **both))
    for rows, own in zip(token_vectors(text_of(extended), "toy"), both.values(), strict=True):
        np.testing.assert_array_equal(rows, own)
    save_embedding(extended, "toy", tmp_path / "new.safetensors")
    assert safetensors.numpy.load_file(tmp_path / "new.safetensors").keys() == both.keys()
    with pytest.raises(ValueError, match="two text encoders; expected .* clip_l and clip_g"):
        with_embedding(model, written(tmp_path, "one.safetensors", x=both["clip_l"]))


def test_what_is_refused(model, tmp_path):
    file = written(tmp_path, emb_params=np.zeros((2, 48), np.float32))
    with pytest.raises(ValueError, match="48 numbers, this model's have 32: .* another base"):
        with_embedding(model, file)
    cat = written(tmp_path, **{"cat</w>": np.zeros((1, 32), np.float32)})
    with pytest.raises(ValueError, match="in the vocabulary already"):
        with_embedding(model, cat)
    many = written(tmp_path, x=np.zeros(2, np.float32), y=np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="expected one tensor"):
        with_embedding(model, many)
