"""Training that starts from weights that are there already."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run

from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import open_run, prepare


def test_a_run_starts_from_the_averages_of_another(whole):
    config, workdir, _ = whole
    own = dataclasses.replace(
        config, train=dataclasses.replace(config.train, init_from=str(workdir), seed=7)
    )
    state, _ = prepare(own).start()
    run = open_run(workdir)
    for tree in (state.trainable, *state.ema.values()):
        for ours, theirs in zip(jax.tree.leaves(tree), jax.tree.leaves(run.trainable), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert int(state.step) == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))  # Adam's, anew


def test_a_state_is_the_same_whatever_is_done_beside():
    setup, done = prepare(tiny_run.tiny_config()), []
    alone, _ = setup.start()
    beside, _ = setup.start(beside=lambda: done.append(setup.compiled))
    assert done == [setup.compiled]  # and not compiled again
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        assert a.sharding == b.sharding
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_what_goes_wrong_beside_is_raised():
    def fail():
        raise MemoryError("beside")

    with pytest.raises(MemoryError, match="beside"):
        prepare(tiny_run.tiny_config()).start(beside=fail)


@pytest.mark.parametrize(
    "network, message",
    [
        (VectorMLP(features=8, num_blocks=1), r"float32\[16\] there and float32\[8\] here"),
        (VectorMLP(features=16, num_blocks=2), r"is missing there and float32"),
    ],
)
def test_other_weights_are_refused_before_anything_is_written(whole, tmp_path, network, message):
    config, workdir, _ = whole
    other = dataclasses.replace(
        tiny_run.tiny_config(init_from=str(workdir)), objective=Denoising(network)
    )
    with pytest.raises(ValueError, match=message) as error:
        tiny_run.run(tmp_path / "run", other)
    assert "\n" not in str(error.value) and "['network']['params']" in str(error.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_nothing_there_is_one_line(tmp_path):
    config = tiny_run.tiny_config(init_from=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="no such run, and no such published model"):
        tiny_run.run(tmp_path / "run", config)
