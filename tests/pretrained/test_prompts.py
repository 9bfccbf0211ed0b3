"""Weights and chunks of prompts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models as tiny
import tiny_pipelines

from diffax.generation import Request
from diffax.pretrained.conditioning import PublishedText
from diffax.pretrained.prompts import parse_weights, tokenize


@pytest.fixture(scope="module")
def encoder():
    return tiny_pipelines.network(tiny.PIPELINES["sd"]["text_encoder"])


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_pipelines.tokenizer("<|endoftext|>")


@pytest.fixture(scope="module")
def contexts(encoder, tokenizer):
    text = PublishedText((encoder,), (tokenizer,))

    def encoded(*prompts):
        asked, _ = text.request(Request(prompt=prompts), len(prompts))
        return jax.jit(text.encode)(text.params, asked)["context"]

    return encoded


@pytest.mark.parametrize(
    "prompt, parts",
    [
        ("a cat", [("a cat", 1)]),
        ("", [("", 1)]),
        ("a (red:1.3) house", [("a ", 1), ("red", 1.3), (" house", 1)]),
        ("(a:1.5)(b:.5)", [("a", 1.5), ("b", 0.5)]),
        ("(a (b:2) c:1.5) d", [("a ", 1.5), ("b", 3), (" c", 1.5), (" d", 1)]),
        ("(a cat) [b] ((c))", [("(a cat) [b] ((c))", 1)]),
        (r"\(a:1.3\) b", [("(a:1.3) b", 1)]),
        ("ratio 16:9 (wide)", [("ratio 16:9 (wide)", 1)]),
        ("(a:1.3", [("(a:1.3", 1)]),
        ("a:1.3)", [("a:1.3)", 1)]),
        ("(x: 2 ) y", [("x", 2), (" y", 1)]),
        ("(a (plain) b:2)", [("a (plain) b", 2)]),
        ("back\\slash", [("back\\slash", 1)]),
    ],
)
def test_parse_weights(prompt, parts):
    assert parse_weights(prompt) == parts


def test_weights_stand_at_their_tokens(tokenizer):
    tokens = tokenize(tokenizer, ["cat (at:1.5) cat"])
    assert tokens.ids[0, 0, :5].tolist() == tokenizer(["cat at cat"])[0, :5].tolist()
    assert tokens.weights[0, 0, :5].tolist() == [1, 1, 1.5, 1, 1]


def test_long_prompts_are_read_in_chunks(tokenizer):
    text = " ".join(["cat"] * 100 + ["(at:2)"] * 60)
    tokens = tokenize(tokenizer, [text, "at"])
    assert tokens.ids.shape == (2, 3, 77)
    assert (tokens.ids[..., 0] == tiny.START).all()
    body = tokens.ids[0, :, 1:76].reshape(-1)
    cat, at = tokenizer.ids("cat at")
    assert body[:160].tolist() == [cat] * 100 + [at] * 60
    assert (tokens.weights[0, :, 1:76].reshape(-1)[:160] == [1] * 100 + [2] * 60).all()
    assert (tokens.ids[1, 1:] == tokenizer.frame([])).all()


def test_too_long_a_prompt(tokenizer):
    with pytest.raises(ValueError, match="has 601 tokens; expected at most 600"):
        tokenize(tokenizer, [" ".join(["cat"] * 601)])


def test_chunks_are_encoded_one_by_one(contexts):
    first, second = " ".join(["cat"] * 75), "at at"
    whole = contexts(f"{first} {second}")
    parts = contexts(first, second)
    np.testing.assert_allclose(whole[0], jnp.concatenate(list(parts)), atol=1e-5)


def test_weights_change_their_tokens_and_keep_the_mean(contexts):
    plain, one, two = contexts("cat at cat", "cat (at:1) cat", "cat (at:2) cat")
    np.testing.assert_array_equal(plain, one)
    np.testing.assert_allclose(two.mean(), plain.mean(), rtol=1e-5)
    ratio = np.asarray(two / plain)
    np.testing.assert_allclose(ratio[2] / ratio[1], 2.0, rtol=1e-4)
