"""A token that a text encoder did not know."""

import jax
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax.pretrained import token_vectors, with_token


@pytest.fixture(scope="module")
def published():
    return tiny_pipelines.pipeline("sdxl").conditioner


@pytest.fixture(scope="module")
def extended(published):
    return with_token(published, "<new>", vectors=2, initial="cat")


def test_it_is_read_where_it_stands(extended):
    for tokenizer in extended.tokenizers:
        new = [tiny.VOCABULARY, tiny.VOCABULARY + 1]
        assert tokenizer.ids("a <new> at") == [*tokenizer.ids("a"), *new, *tokenizer.ids("at")]
        assert tokenizer.ids("<new><new>") == new + new
    prompt = extended.tokenizers[0].ids("(<new>:1.3)")
    assert new[0] in prompt and new[1] in prompt


def test_as_long_as_it_has_a_words_vector_it_means_that_word(published, extended):
    for encoder, rows in zip(published.encoders, token_vectors(extended), strict=True):
        table = encoder.params["params"]["text_model"]["embeddings"]["token_embedding"]
        (cat,) = published.tokenizers[0].ids("cat")
        np.testing.assert_array_equal(rows, np.stack([table["embedding"][cat]] * 2))

    def told(conditioner, text):
        ids = {f"ids{name}": t([text])[:, None] for name, t in conditioner._named()}
        weights = {f"weights{name}": np.ones((1, 1, 77)) for name, _ in conditioner._named()}
        return ids | weights | {"nothing": np.zeros(1, bool), "size_ids": np.zeros((1, 6))}

    @jax.jit
    def conditions(params, extended_params):
        known = published.encode(params, told(published, "a cat cat at"))
        return known, extended.encode(extended_params, told(extended, "a <new> at"))

    known, new = conditions(published.params, extended.params)
    assert sorted(known) == ["context", "pooled", "size_ids"]
    for name in known:  # the pooled text, too: a new token is no end mark
        np.testing.assert_allclose(new[name], known[name], atol=1e-5, err_msg=name)


def test_captions_that_are_too_long_are_cut_with_a_warning(published):
    batch = {"caption": np.array(["at", "a " * 80]), "x": np.zeros((2, 8, 8, 3), np.uint8)}
    with pytest.warns(UserWarning, match="more than 75 tokens are cut"):
        told = published.columns(batch)
    assert told["ids"].shape == (2, 1, 77)
    assert told["ids"][1, 0, -1] == tiny.END and told["size_ids"][0].tolist() == [8, 8, 0, 0, 8, 8]


def test_what_cannot_be_is_one_line(published, extended):
    for conditioner, token, initial, said in (
        (published, "<new>", "some cat", "give a word that is one"),
        (published, "cat</w>", "cat", "in the vocabulary already"),
        (extended, "<newer>", "cat", "beside another one"),
    ):
        with pytest.raises(ValueError, match=said):
            with_token(conditioner, token, 1, initial)
