"""Random access to the order and to chance."""

import numpy as np
import pytest

from diffax.data import order


def test_every_epoch_is_a_permutation_and_no_two_are_the_same():
    orders = [order.permutation(seed, epoch, 97) for seed in (0, 1) for epoch in (0, 1, 2)]
    for one in orders:
        np.testing.assert_array_equal(np.sort(one), np.arange(97))
    assert len({one.tobytes() for one in orders}) == len(orders)


def test_the_order_is_pinned_down_for_ever():
    # Philox's raw words never change between NumPy versions: a change here would silently break
    # the continuation of every run under way.
    assert order.permutation(0, 0, 8).tolist() == GOLDEN_ORDER
    np.testing.assert_allclose(order.chance(3, 10, 1)[0], GOLDEN_CHANCE, rtol=0, atol=1e-15)


def test_positions_are_uniform_over_epochs():
    # Over many epochs each example comes first about equally often (chi-square, 15 degrees of
    # freedom: 99.99 % quantile 44.3).
    first = [order.permutation(5, epoch, 16)[0] for epoch in range(1600)]
    counts = np.bincount(first, minlength=16)
    assert ((counts - 100) ** 2 / 100).sum() < 44.3


def test_indices_agree_with_the_epochs_whatever_the_cut():
    size = 10
    whole = order.indices(4, np.arange(35), size)
    for epoch in range(3):
        np.testing.assert_array_equal(
            whole[epoch * size : (epoch + 1) * size], order.permutation(4, epoch, size)
        )
    for cut in (1, 9, 10, 11, 29):
        parts = [order.indices(4, part, size) for part in np.split(np.arange(35), [cut])]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_chance_belongs_to_the_position():
    whole = order.chance(7, 0, 1000)
    assert whole.min() >= 0 and whole.max() < 1
    np.testing.assert_array_equal(order.chance(7, 123, 45), whole[123:168])
    # mean of 4000 uniforms: deviation 0.2887 / sqrt(4000) = 0.0046; five of them
    assert abs(whole.mean() - 0.5) < 0.023
    correlations = np.corrcoef(whole.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(1000)


def test_fresh_vectors_differ_by_step_and_by_seed():
    draws = {order.fresh_state(seed, step).uniform() for seed in (0, 1) for step in range(5)}
    assert len(draws) == 10


def test_seeds_outside_64_bits_are_refused():
    with pytest.raises(ValueError, match="seed from 0 to .*got -1"):
        order.permutation(-1, 0, 4)
    with pytest.raises(ValueError, match=r"seed from 0 to 2\*\*64 - 1, got 18446744073709551616"):
        order.permutation(2**64, 0, 4)  # would be the order of seed 0


GOLDEN_ORDER = [5, 3, 7, 2, 4, 1, 0, 6]
GOLDEN_CHANCE = [0.286207577530066, 0.5410864020249458, 0.4449317971769514, 0.9128693055367695]


def test_groups_stay_together():
    rows = order.indices(3, np.arange(48), 12, group=3)
    together = rows.reshape(-1, 3)
    np.testing.assert_array_equal(together, together[:, :1] + np.arange(3))
    for epoch in np.split(rows, 4):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(12))


def test_a_bucketed_epoch_visits_every_bucket_and_every_example():
    sizes, size = (5, 1, 8), 2  # 3, 1 and 4 batches an epoch
    seen = {bucket: [] for bucket in range(3)}
    for epoch in range(10):
        visited = []
        for step in range(8 * epoch, 8 * (epoch + 1)):
            bucket, rows = order.bucketed(7, step, size, sizes)
            again, same = order.bucketed(7, step, size, sizes)
            assert again == bucket and same.tolist() == rows.tolist()
            visited.append(bucket)
            seen[bucket] += rows.tolist()
        assert np.bincount(visited).tolist() == [3, 1, 4]
    # Of each bucket an endless stream, in which every example comes equally often.
    for bucket, rows in seen.items():
        counts = np.bincount(rows, minlength=sizes[bucket])
        assert counts.max() - counts.min() <= 2
