"""What is told becomes a condition: labels, captions, nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.conditioning import BY_NAME, Captions, Labels, Nothing
from diffax.data import Column, Spec
from diffax.generation import Request

VECTORS = Spec({"x": Column((2,), "float32")}, size=4, mean=(0.0, 0.0), std=(1.0, 1.0))
CLASSES = Spec(
    {"x": Column((8, 8, 1), "uint8"), "label": Column((), "int32")}, 4, ("cat", "dog", "owl")
)
TEXTS = Spec({"x": Column((8, 8, 3), "uint8"), "caption": Column((), "str")}, size=4)
SMALL = dict(length=8, width=8, depth=1, num_heads=2)


@pytest.mark.parametrize("make, spec, told", [
    (Nothing, VECTORS, {}),
    (Labels, CLASSES, {"label": np.array([0, 2], np.int32)}),
    (lambda: Captions(**SMALL), TEXTS, {"caption": np.array(["a cat", ""])}),
])  # fmt: skip
def test_columns_of_a_batch_become_a_condition(make, spec, told):
    conditioner = make().fitted(spec)
    assert tuple(told) == conditioner.reads
    columns = conditioner.columns(told)
    assert all(column.dtype == np.int32 and len(column) == 2 for column in columns.values())
    params = jax.eval_shape(conditioner.init, jax.random.key(0))
    shapes = jax.eval_shape(conditioner.encode, params, columns)
    assert all(leaf.shape[0] == 2 for leaf in shapes.values())
    assert bool(jax.tree.leaves(params)) == conditioner.trained


def test_all_have_names():
    names = {type(kind()).__name__ for kind in BY_NAME.values()}
    assert names == {"Nothing", "Labels", "Captions", "LowRes", "Spectrogram"}


def test_captions_word_by_word():
    words = Captions(**SMALL | {"length": 5}, words=1000)
    tokens = words.tokens(["A red heart", "red: HEART", "a b c d e f"])
    assert tokens[0, 1] == tokens[1, 0] and tokens[0, 2] == tokens[1, 1] and tokens.max() < 1258
    assert tokens[0, 3] == 257 and tokens[2, 4] == 257  # ends; the longer text is cut
    params = jax.eval_shape(words.init, jax.random.key(0))
    assert params["params"]["byte"]["embedding"].shape == (1258, 8)
    with pytest.raises(ValueError, match="conditioner.words must lie in"):
        Captions(words=0)


# ---------------------------------------------------------------- dropping


def test_labels_are_dropped_as_often_as_asked():
    labels = Labels(dropout=0.1).fitted(CLASSES)
    told = {"label": jnp.zeros((20_000,), jnp.int32)}
    dropped = labels.drop(jax.random.key(0), told)["label"]
    # 0.1 +- 5 standard deviations of 20,000 draws.
    assert float((dropped == 3).mean()) == pytest.approx(0.1, abs=0.011)
    assert set(np.unique(dropped)) == {0, 3}
    never = Labels(dropout=0.0).fitted(CLASSES)
    assert never.drop(jax.random.key(0), told) is told
    always = Labels(dropout=1.0).fitted(CLASSES).drop(jax.random.key(0), told)
    assert set(np.unique(always["label"])) == {3}


def test_captions_are_dropped_as_often_as_asked_and_become_the_empty_text():
    captions = Captions(dropout=0.25, **SMALL)
    tokens = jnp.tile(captions.tokens(["a cat"]), (20_000, 1))
    dropped = np.asarray(captions.drop(jax.random.key(0), {"tokens": tokens})["tokens"])
    empty = (dropped == captions.tokens([""])).all(axis=1)
    assert empty.mean() == pytest.approx(0.25, abs=0.016)
    np.testing.assert_array_equal(dropped[~empty], np.asarray(tokens)[~empty])


# ---------------------------------------------------------------- requests


def test_labels_by_number_name_and_in_turn():
    labels = Labels().fitted(CLASSES)

    def asked(num, **request):
        told, avoided = labels.request(Request(**request), num)
        assert avoided["label"].tolist() == [3] * num
        assert told["label"].dtype == np.int32
        return told["label"].tolist()

    assert asked(5) == [0, 1, 2, 0, 1]
    assert asked(4, labels=[2, "dog"]) == [2, 2, 1, 1]
    assert asked(2, labels="owl") == [2, 2]
    assert asked(2, labels=1) == [1, 1]
    assert asked(1, labels="2") == [2]  # as a command line has it
    assert asked(1, labels=[3]) == [3]  # no class


@pytest.mark.parametrize(
    "label, words",
    [
        ("cow", "no class is called 'cow'; nearest: owl"),
        (4, r"0 to 2 \(3: no class\), got 4"),
        (-1, "got -1"),
        (1.5, "got 1.5"),
        (None, "no class is called None"),
    ],
)
def test_labels_that_there_are_not(label, words):
    with pytest.raises(ValueError, match=words):
        Labels().fitted(CLASSES).request(Request(labels=[label]), 1)


def test_prompts_and_what_to_avoid():
    captions = Captions(**SMALL)
    request = Request(prompt=["a", "bc"], negative="d")
    told, avoided = captions.request(request, 4)
    np.testing.assert_array_equal(told["tokens"], captions.tokens(["a", "a", "bc", "bc"]))
    np.testing.assert_array_equal(avoided["tokens"], captions.tokens(["d"] * 4))
    told, avoided = captions.request(Request(), 2)
    np.testing.assert_array_equal(told["tokens"], avoided["tokens"])
    with pytest.raises(ValueError, match="one for each of 2 prompts, got 3"):
        captions.request(Request(prompt=["a", "b"], negative=["c", "d", "e"]), 2)


def test_nothing_says_nothing():
    assert Nothing().request(Request(), 3) == ({}, {})


# ---------------------------------------------------------------- captions as bytes


def test_tokens_are_bytes_an_end_and_padding():
    captions = Captions(**SMALL)
    row = captions.tokens(["né"])[0].tolist()
    assert row == [ord("n"), 0xC3, 0xA9, 257, 256, 256, 256, 256]
    long = captions.tokens(["abcdefghijkl"])[0].tolist()
    assert long == [*b"abcdefg", 257]  # cut, and still with its end
    assert captions.tokens(["\ud800"]).shape == (1, 8)  # no text at all, and no error
    assert captions.tokens([]).shape == (0, 8)


def test_padding_is_not_seen_and_texts_differ():
    captions = Captions(**SMALL)
    params = jax.jit(captions.init)(jax.random.key(0))
    short = jax.jit(captions.encode)(params, {"tokens": captions.tokens(["ab", "", "ba"])})
    assert short["context"].shape == (3, 8, 8) and short["embedding"].shape == (3, 8)
    np.testing.assert_array_equal(short["context"][0, 3:], 0)
    assert np.isfinite(short["context"]).all()
    assert not np.allclose(short["embedding"][0], short["embedding"][2])  # the order counts
    # The same bytes with more padding: the mean over the text is the same.
    wide = Captions(**SMALL | {"length": 6})
    fewer = params["params"] | {"place": {"embedding": params["params"]["place"]["embedding"][:6]}}
    again = jax.jit(wide.encode)({"params": fewer}, {"tokens": wide.tokens(["ab", "", "ba"])})
    np.testing.assert_allclose(again["embedding"], short["embedding"], atol=1e-6)


@pytest.mark.parametrize("words", [pytest.param(None, marks=pytest.mark.slow), 50])
def test_a_new_token_has_vectors_of_its_own(words):
    captions = Captions(**SMALL, words=words)
    captions = captions.with_params(jax.jit(captions.init)(jax.random.key(0)))
    told = captions.with_token("<new>", 2, "b")
    texts = ["a <new>", "a bb" if words is None else "a b b", "ab"]
    rows = told.tokens(texts)
    base = 258 + (words or 0)
    assert [row for row in rows[0] if row >= base] == [base, base + 1]
    new = jax.jit(told.encode)(told.params, {"tokens": rows})["context"]
    old = jax.jit(captions.encode)(captions.params, {"tokens": captions.tokens(texts)})["context"]
    np.testing.assert_allclose(new[0], old[1], atol=1e-6)  # as the word that it started from
    np.testing.assert_allclose(new[1:], old[1:], atol=1e-6)
    moved = jax.tree.map(lambda leaf: leaf, told.params)
    moved["params"]["new_embedding"]["embedding"] += jnp.arange(8.0)[None]
    again = jax.jit(told.encode)(moved, {"tokens": rows})["context"]
    assert np.abs(again[0] - new[0]).max() > 1e-3
    np.testing.assert_array_equal(again[1:], new[1:])


def test_a_new_token_needs_a_trained_conditioner_without_one():
    with pytest.raises(ValueError, match="trained conditioner without one, got none"):
        Captions(**SMALL).with_token("<new>", 1, "b")
    trained = Captions(**SMALL).with_params({"params": {"byte": {"embedding": jnp.ones((258, 8))}}})
    with pytest.raises(ValueError, match="initial ' ' says nothing|initial '' says nothing"):
        trained.with_token("<new>", 1, "")
    with pytest.raises(ValueError, match="got the token '<new>' already"):
        trained.with_token("<new>", 1, "b").with_token("<other>", 1, "b")
    with pytest.raises(ValueError, match="vectors must lie in 1 to 7, got 8"):
        trained.with_token("<new>", 8, "b")


# ---------------------------------------------------------------- what does not fit


def test_numbers_and_names_come_from_the_data():
    labels = Labels().fitted(CLASSES)
    assert (labels.num_classes, labels.names) == (3, ("cat", "dog", "owl"))
    assert Labels(num_classes=5).fitted(CLASSES).num_classes == 5


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Labels(num_classes=2).fitted(CLASSES), "num_classes is 2, the data have 3"),
        (lambda: Labels().fitted(VECTORS), "use --conditioner nothing"),
        (lambda: Captions().fitted(CLASSES), "set --data.captions True"),
        (lambda: Labels(dropout=1.5), "dropout must lie in 0 to 1, got 1.5"),
        (lambda: Labels(num_classes=0), "num_classes must lie in 1"),
        (lambda: Labels().request(Request(), 4), "does not know the number of classes yet"),
        (lambda: Captions(dropout=-1.0), "dropout"),
        (lambda: Captions(length=1), "length must lie in 2"),
        (lambda: Captions(width=10, num_heads=4), "does not split into 4 heads"),
    ],
)
def test_what_does_not_fit_is_one_line(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
