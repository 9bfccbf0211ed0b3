"""Attention: the definition, in slices, and where cuDNN's may stand in for it."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.models.blocks.attention import Attention, attend, cudnn_fits
from diffax.models.blocks.style import Style


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def softmax_attention(q, k, v, causal=False):
    """The definition, in float64."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    scores = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhnm,bmhd->bnhd", weights, v)


@pytest.mark.parametrize("chunk", [None, 1, 3, 5, 12])
def test_attention_in_slices_is_attention(chunk):
    q, k, v = draw(0, 2, 11, 3, 4), draw(1, 2, 7, 3, 4), draw(2, 2, 7, 3, 4)
    out = attend(q, k, v, query_chunk=chunk)
    np.testing.assert_allclose(out, softmax_attention(q, k, v), atol=1e-6)


@pytest.mark.parametrize("chunk", [None, 4])
def test_causal_attention(chunk):
    q, k, v = (draw(i, 2, 6, 3, 4) for i in range(3))
    out = attend(q, k, v, causal=True, query_chunk=chunk)
    np.testing.assert_allclose(out, softmax_attention(q, k, v, causal=True), atol=1e-6)


@pytest.mark.slow
def test_slices_save_memory_in_both_directions():
    """Nothing as large as the scores of all queries is made, on the way there or back."""
    q, k, v = (draw(i, 1, 60, 1, 4) for i in range(3))

    def gradient(chunk):
        return jax.grad(lambda q: jnp.sum(attend(q, k, v, query_chunk=chunk) ** 2))

    np.testing.assert_allclose(gradient(7)(q), gradient(None)(q), atol=1e-5)

    def largest(chunk):
        shapes = re.findall(r"\w\[(\d+(?:,\d+)*)\]", str(jax.make_jaxpr(gradient(chunk))(q)))
        return max(math.prod(map(int, shape.split(","))) for shape in shapes)

    assert largest(None) == 60 * 60
    assert largest(7) == 7 * 60


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other back ends transpose for nothing")
def test_scores_are_not_transposed():
    """To transpose them took XLA's CPU compiler longer than to make them."""
    q, k, v = (draw(i, 2, 40, 3, 4) for i in range(3))
    text = jax.jit(attend).lower(q, k, v).compile().as_text()
    scores = re.findall(r"(?:transpose|copy)\S* = f32\[([\d,]+)\]", text)
    assert not [shape for shape in scores if shape.count("40") == 2]
    assert "f32[2,3,40,40]" in text  # the search would see them


def test_scores_beyond_half_precision_stay_finite():
    # 300 * 300 * 8 overflows float16, and bfloat16's 8 bits could not tell the scores apart.
    q = jnp.full((1, 2, 1, 8), 300.0, jnp.float16)
    v = draw(2, 1, 2, 1, 8).astype(jnp.float16)
    out = attend(q, q, v)
    assert out.dtype == jnp.float16
    np.testing.assert_allclose(out[0, 0], v.mean(axis=1)[0], atol=1e-3)


@pytest.mark.parametrize(
    "changes, fits",
    [
        ({}, True),
        ({"dtype": jnp.float16, "head_size": 8, "queries": 2, "keys": 2}, True),
        ({"head_size": 128, "queries": 4096, "keys": 4096}, True),
        ({"backend": "cpu"}, False),
        ({"backend": "tpu"}, False),
        ({"dtype": jnp.float32}, False),
        ({"dtype": jnp.float64}, False),
        ({"head_size": 4}, False),
        ({"head_size": 20}, False),
        ({"head_size": 160}, False),  # Stable Diffusion 1's middle
        ({"queries": 49, "keys": 49}, False),  # a 7 x 7 map
        ({"keys": 77}, False),  # a text
        ({"queries": 77}, False),
    ],
)
def test_where_cudnn_holds_forward_and_backward(changes, fits):
    case = {"backend": "gpu", "dtype": jnp.bfloat16, "head_size": 64, "queries": 256, "keys": 256}
    assert cudnn_fits(**case | changes) is fits


@pytest.mark.parametrize("heads, context", [(1, False), (4, False), (2, True)])
def test_the_module_is_the_formula(heads, context):
    x, other = draw(0, 2, 6, 8), draw(1, 2, 5, 3) if context else None
    model = Attention(Style(), heads)
    params = model.init(jax.random.key(0), x, other)
    weights = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"])

    def project(name, tokens):
        return np.asarray(tokens, np.float64) @ weights[name]["kernel"] + weights[name]["bias"]

    q, k, v = (
        project(name, tokens).reshape(2, -1, heads, 8 // heads)
        for name, tokens in zip(
            ("to_q", "to_k", "to_v"), (x, *[x if other is None else other] * 2), strict=True
        )
    )
    expected = project("to_out_0", softmax_attention(q, k, v).reshape(2, 6, 8))
    np.testing.assert_allclose(model.apply(params, x, other), expected, atol=1e-5)


def test_pixels_are_tokens_in_any_order():
    x = draw(0, 2, 4, 6, 8)
    model = Attention(Style(), heads=2, norm_groups=2)
    params = model.init(jax.random.key(0), x)
    out = model.apply(params, x)
    assert np.abs(out).max() > 1e-2
    swapped = model.apply(params, x.swapaxes(1, 2))
    np.testing.assert_allclose(swapped, out.swapaxes(1, 2), atol=1e-5)
    assert "group_norm" in params["params"]
    # The norm takes out what is added to all, and what all are multiplied by.
    np.testing.assert_allclose(model.apply(params, 5 * x + 2), out, atol=1e-4)


@pytest.mark.parametrize("heads", [0, 3, 16])
def test_heads_that_do_not_divide_are_refused(heads):
    with pytest.raises(ValueError, match=f"8 channels and {heads} heads; change num_heads"):
        Attention(Style(), heads).init(jax.random.key(0), draw(0, 1, 4, 8))
