"""What is learned and what stays, split and joined again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.adapters import BY_NAME, Everything, LowRank, Subset
from diffax.adapters.paths import flat, nested


def params() -> dict:
    keys = jax.random.split(jax.random.key(0), 4)
    return {
        "network": {
            "params": {
                "a": {"kernel": jax.random.normal(keys[0], (6, 4)), "bias": jnp.ones((4,))},
                "conv": {"kernel": jax.random.normal(keys[1], (3, 3, 2, 5))},
                "half": {"kernel": jax.random.normal(keys[2], (4, 4), jnp.bfloat16)},
            }
        },
        "conditioner": {"params": {"byte": {"embedding": jax.random.normal(keys[3], (3, 2))}}},
    }


ADAPTERS = {
    "everything": Everything(),
    "subset": Subset("a/"),
    "low_rank": LowRank(rank=2, pattern="kernel"),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_before_training_nothing_has_changed(name):
    adapter = ADAPTERS[name]
    trainable, frozen = adapter.init(jax.random.key(1), params())
    merged = adapter.merge(trainable, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(params())
    for a, b in zip(jax.tree.leaves(merged), jax.tree.leaves(params()), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", BY_NAME)
def test_adapters_are_pure_inside_jit(name):
    adapter = ADAPTERS[name]
    trainable, frozen = adapter.init(jax.random.key(1), params())
    shapes = jax.eval_shape(adapter.init, jax.random.key(1), params())
    assert jax.tree.structure((trainable, frozen)) == jax.tree.structure(shapes)
    before = jax.tree.map(np.asarray, (trainable, frozen))
    merged = jax.jit(adapter.merge)(trainable, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(params())
    assert jax.tree.all(jax.tree.map(np.array_equal, before, (trainable, frozen)))


def test_everything_is_learned():
    trainable, frozen = Everything().init(jax.random.key(0), params())
    assert jax.tree.structure(trainable) == jax.tree.structure(params()) and frozen == {}


def test_a_subset_by_name():
    trainable, frozen = Subset("bias|embedding").init(jax.random.key(0), params())
    assert sorted(flat(trainable)) == [
        "conditioner/params/byte/embedding",
        "network/params/a/bias",
    ]
    assert len(flat(frozen)) == 3 and not set(flat(frozen)) & set(flat(trainable))


def test_a_low_rank_correction_is_the_papers():
    adapter = LowRank(rank=2, alpha=6.0, pattern="kernel")
    trainable, frozen = adapter.init(jax.random.key(0), params())
    assert sorted(trainable) == [f"network.params.{n}.kernel" for n in ("a", "conv", "half")]
    trainable = jax.tree.map(lambda leaf: leaf + 0.5, trainable)
    merged = flat(adapter.merge(trainable, frozen))
    for name in ("a", "conv", "half"):
        factors = trainable[f"network.params.{name}.kernel"]
        before = flat(params())[f"network/params/{name}/kernel"]
        added = 3.0 * (factors["down"] @ factors["up"])  # alpha / rank = 3
        assert np.linalg.matrix_rank(added) <= 2
        expected = before.astype(jnp.float32) + added.reshape(before.shape)
        got = merged[f"network/params/{name}/kernel"]
        assert got.dtype == before.dtype
        np.testing.assert_allclose(got, expected.astype(before.dtype), rtol=1e-6)
    np.testing.assert_array_equal(merged["network/params/a/bias"], 1)


def test_alpha_is_the_rank_where_it_is_not_said():
    trainable, frozen = LowRank(rank=2, pattern="a/kernel").init(jax.random.key(0), params())
    trainable = jax.tree.map(lambda leaf: leaf + 1.0, trainable)
    merged = [LowRank(rank=2, alpha=a, pattern="a").merge(trainable, frozen) for a in (None, 2.0)]
    assert jax.tree.all(jax.tree.map(np.array_equal, *merged))


@pytest.mark.parametrize("adapter, words", [
    (Subset("attn2"), "'attn2' matches no parameter; they are called: network/params/a/"),
    (Subset("("), "is no regular expression"),
    (LowRank(pattern="nothing"), "matches no parameter"),
    (LowRank(pattern="bias"), "matches no matrix; it should name kernels"),
])  # fmt: skip
def test_what_matches_nothing_is_one_line(adapter, words):
    with pytest.raises(ValueError, match=words):
        adapter.init(jax.random.key(0), params())


def test_a_rank_out_of_range():
    with pytest.raises(ValueError, match="adapter.rank must lie in 1 to 4096, got 0"):
        LowRank(rank=0)


def test_names_go_there_and_back():
    tree = params()
    assert jax.tree.structure(nested(flat(tree))) == jax.tree.structure(tree)
