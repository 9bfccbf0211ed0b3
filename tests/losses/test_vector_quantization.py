"""Codes follow what they stand for; those that nothing uses come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.losses import KL, Codes, Plain
from diffax.losses.vector_quantization import book_of, followed, nearest_codes, perplexity, revived
from diffax.models import DiagonalGaussian

BOOK = jnp.array([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])


def test_the_nearest_code_is_the_nearest():
    z = jax.random.normal(jax.random.key(0), (5, 4, 2))
    book = jax.random.normal(jax.random.key(1), (7, 2))
    distance = np.linalg.norm(np.asarray(z)[..., None, :] - np.asarray(book), axis=-1)
    np.testing.assert_array_equal(nearest_codes(z, book), distance.argmin(-1))


def test_averages_that_forget_at_once_are_k_means():
    z = jnp.array([[0.0, 1.0], [0.0, 3.0], [2.0, 0.0]])
    codes = nearest_codes(z, BOOK)
    assert codes.tolist() == [0, 0, 1]
    count, total = followed(jnp.ones(3), BOOK, z, codes, decay=0.0)
    np.testing.assert_allclose(book_of(count, total)[:2], [[0, 2], [2, 0]], rtol=1e-4)
    # A code that was not used keeps its average where something is remembered.
    count, total = followed(jnp.ones(3), BOOK, z, codes, decay=0.5)
    np.testing.assert_allclose(book_of(count, total)[2], BOOK[2], rtol=1e-4)


def test_dead_codes_are_put_on_latents():
    z = jnp.array([[5.0, 5.0]] * 6)
    count, total, dead = revived(jnp.array([9.0, 0.01, 9.0]), BOOK, z, jax.random.key(0), 0.1)
    assert float(dead) == pytest.approx(1 / 3)
    np.testing.assert_array_equal(count, [9, 2, 9])  # 6 latents over 3 codes
    np.testing.assert_allclose(book_of(count, total)[1], [5, 5], rtol=1e-4)
    same = revived(jnp.array([9.0, 0.0, 9.0]), BOOK, z, jax.random.key(0), 0.0)
    np.testing.assert_array_equal(same[0], [9, 0, 9])


def test_perplexity_counts_codes_in_use():
    assert float(perplexity(jnp.full(8, 3.0))) == pytest.approx(8, rel=1e-6)
    assert float(perplexity(jnp.array([5.0, 0, 0]))) == pytest.approx(1)


@pytest.mark.parametrize("decay", [0.9, None])
def test_the_gradient_passes_straight_through(decay):
    codes = Codes(commitment=0.0, decay=decay)
    state, book = codes.init(BOOK), None if decay else BOOK
    z = jnp.array([[[[0.2, 0.1]]]])

    wish = jnp.array([[[[3.0, -2.0]]]])

    def decoded(z):
        return jnp.sum(wish * codes(z, book, state, jax.random.key(0), 4).shown)

    value, slope = jax.value_and_grad(decoded)(z)
    assert float(value) == pytest.approx(0, abs=1e-5)  # the decoder sees the code
    np.testing.assert_array_equal(slope[0, 0, 0], [3, -2])  # the encoder, the decoder's wish


def test_commitment_moves_latents_and_the_codebook_loss_codes():
    z = jnp.array([[[[0.4, 0.0]]]])
    codes = Codes(commitment=0.25, decay=None)

    def penalty(z, book):
        return codes(z, book, {}, jax.random.key(0), 4).penalty

    value = float(penalty(z, BOOK))
    assert value == pytest.approx(1.25 * 0.16 / 2, rel=1e-5)
    to_z, to_book = jax.grad(penalty, (0, 1))(z, BOOK)
    np.testing.assert_allclose(to_z[0, 0, 0], [0.25 * 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(to_book, [[-0.4, 0], [0, 0], [0, 0]], atol=1e-6)


def test_divergence_of_a_gaussian_in_closed_form():
    mean, std = 0.5, 0.3
    posterior = DiagonalGaussian(
        jnp.full((2, 1, 1, 3), mean), jnp.full((2, 1, 1, 3), 2 * np.log(std), jnp.float32)
    )
    out = KL(weight=2.0)(posterior, None, {}, jax.random.key(0), 12)
    expected = 3 * (0.5 * (mean**2 + std**2 - 1) - np.log(std))  # three latents an example
    assert float(out.metrics["kl"]) == pytest.approx(expected, rel=1e-5)
    assert float(out.penalty) == pytest.approx(2 * expected / 12, rel=1e-5)
    assert not np.allclose(out.shown, out.plain)
    plain = Plain()(posterior, None, {}, jax.random.key(0), 12)
    assert float(plain.penalty) == 0 and plain.shown is plain.plain


@pytest.mark.parametrize("make, words", [
    (lambda: KL(weight=-1), "regularizer.weight must be >= 0"),
    (lambda: Codes(decay=1.0), r"regularizer.decay must lie in \[0, 1\)"),
    (lambda: Codes(revive=float("nan")), "regularizer.revive must be >= 0"),
    (lambda: Codes().init(None), "needs a network with a codebook"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(make, words):
    with pytest.raises(ValueError, match=words):
        make()
