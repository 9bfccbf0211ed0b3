"""A tree of parameters is known by what it holds."""

import jax
import jax.numpy as jnp
import numpy as np

from diffax.models import fingerprint


def test_every_name_type_shape_and_byte_counts():
    tree = {"a": np.arange(6, dtype=np.float32), "b": {"c": np.zeros((2, 3), np.int32)}}
    others = [
        tree | {"a": np.arange(6, dtype=np.int32)},
        tree | {"a": np.arange(6, dtype=np.float32).view(np.int32)},  # the same bytes
        tree | {"a": np.arange(6, dtype=np.float32).reshape(2, 3)},
        tree | {"a": np.nextafter(tree["a"], 9)},
        tree | {"b": {"d": tree["b"]["c"]}},
        tree | {"b": tree["b"]["c"]},
        {"a": tree["a"]},
        {},
    ]
    prints = [fingerprint(other) for other in [tree, *others]]
    assert len(set(prints)) == len(prints) and all(len(p) == 64 for p in prints)


def test_where_an_array_lives_does_not_count():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    same = [array, jnp.asarray(array), np.asfortranarray(array), np.tile(array, 2)[:, :4]]
    assert len({fingerprint({"w": a}) for a in same}) == 1


def test_every_kind_of_leaf():
    leaves = [jnp.bfloat16(1.5), 2.0, 3, np.float32(1), jax.random.key(0), np.zeros((0, 2))]
    assert len({fingerprint(leaf) for leaf in leaves}) == len(leaves)
    keys = jax.random.split(jax.random.key(0))
    assert fingerprint(keys) != fingerprint(keys[::-1])
