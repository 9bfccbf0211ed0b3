"""Frozen parts in a run: never changed, never donated, never saved, never a constant."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from tiny_run import assert_same, end_at, loss_curve, run, saved_state, tiny_config

from diffax.adapters import LowRank, Subset
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.schedules import Cosine
from diffax.training import load_run, prepare, step
from diffax.training.keeping import manifest

STEPS = 6
NETWORK = VectorMLP(features=16, num_blocks=1)


def config_of(adapter, network: Any = NETWORK, **changes):
    config = tiny_config(**{"steps": STEPS, "log_every": 2, "save_every": 3} | changes)
    objective = Denoising(network=network, schedule=Cosine(num_steps=10), adapter=adapter)
    return dataclasses.replace(config, objective=objective)


ADAPTERS = {
    "low_rank": LowRank(rank=2, pattern=r"dense.*kernel"),
    "subset": Subset("dense_out"),
}


def arrays(tree) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@pytest.mark.parametrize("name", ["low_rank", pytest.param("subset", marks=pytest.mark.slow)])
def test_interrupted_and_continued_is_bitwise_the_same(tmp_path, name):
    config = config_of(ADAPTERS[name])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, config) == 0
    assert run(cut, config, before_call=end_at(cut, config, 3, "SIGTERM")) == 143
    assert run(cut, config) == 0
    state = saved_state(whole, config, STEPS)
    assert_same(saved_state(cut, config, STEPS), state)
    assert loss_curve(cut) == loss_curve(whole)
    # Only what is learned was saved.
    setup = prepare(config)
    learned = {n for n in state if n.startswith(".trainable")}
    assert len(learned) == len(jax.tree.leaves(setup.places[0].trainable))
    # What a run gives back: the frozen parameters as they were, and what was learned beside them.
    first, frozen = setup.start()
    before = arrays(setup.objective.model(first.trainable, frozen, None).network.params)
    after = arrays(load_run(whole, ema="none").network.params)
    changed = {path for path in before if before[path].tobytes() != after[path].tobytes()}
    pattern = "dense_out" if name == "subset" else "kernel"
    assert changed and all(pattern in path for path in changed)
    if name == "low_rank":
        factors = {n: v for n, v in state.items() if n.startswith(".trainable")}
        for path in changed:
            layer = path.split("'")[3]
            down, up = (
                next(v for n, v in factors.items() if f".{layer}." in n and part in n)
                for part in ("down", "up")
            )
            np.testing.assert_allclose(after[path], before[path] + down @ up, atol=1e-6)
    assert_same(arrays(setup.frozen()), arrays(frozen))  # as a run that continues makes it


def test_frozen_parts_are_arguments_that_are_never_donated():
    # A frozen network far larger than anything else in the program.
    config = config_of(Subset("dense_out"), VectorMLP(features=128, num_blocks=1), log_every=1)
    setup = prepare(config)
    state, frozen = setup.start()
    before = arrays(frozen)
    batch = setup.place(setup.dataset.batches(0, 1, seed=0, batch_size=32))
    one = jax.tree.map(lambda leaf: leaf[0], batch)
    closed = jax.make_jaxpr(step.make_step(setup.problem))(state, frozen, one)
    assert len(closed.jaxpr.invars) == len(jax.tree.leaves((state, frozen, one)))
    assert (
        sum(np.size(const) for const in closed.consts)
        < 1000
        < sum(leaf.size for leaf in jax.tree.leaves(frozen))
    )
    stop = jax.device_put(np.zeros(setup.mesh.size, np.int32))
    donated = state.trainable
    state, _, _ = setup.compile()(state, frozen, batch, np.int32(1), stop)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(frozen))
    assert_same(arrays(frozen), before)


# ---------------------------------------------------------------- parts read from files


@dataclasses.dataclass(frozen=True)
class FromFile:
    """A network to start from, its parameters in an .npz file."""

    path: str

    def open(self):
        template = jax.eval_shape(
            NETWORK.init, jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1), {}
        )
        with np.load(self.path) as held:
            leaves = [held[str(i)] for i in range(len(held.files))]
        return NETWORK, jax.tree.unflatten(jax.tree.structure(template), leaves)


def write_network(path: Path, seed: int) -> str:
    params = NETWORK.init(jax.random.key(seed), jnp.zeros((1, 2)), jnp.zeros(1), {})
    np.savez(path, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(params))})
    return str(path)


def test_a_frozen_part_is_kept_by_reference_and_must_be_the_same(tmp_path):
    path = write_network(tmp_path / "network.npz", 7)
    config = config_of(LowRank(rank=2, pattern="dense_out"), FromFile(path), steps=3)
    workdir = tmp_path / "run"
    assert run(workdir, config) == 0
    record = json.loads((workdir / "checkpoints" / "00000003" / "record.json").read_text())
    (reference,) = record["frozen"]
    assert reference["source"] == f"network: {path}" and len(reference["fingerprint"]) == 64
    with np.load(path) as held:
        given = [held[name] for name in held.files]
    got = jax.tree.leaves(load_run(workdir).network.params)
    same = [np.array_equal(a, b) for a, b in zip(got, given, strict=True)]
    assert same.count(False) == 1  # dense_out's kernel
    # As large as what is learned, not as the network.
    saved = workdir / "checkpoints" / "00000003" / "state" / "trainable"
    size = sum(f.stat().st_size for f in saved.rglob("d/*"))
    assert 0 < size < 4 * sum(leaf.size for leaf in given)

    write_network(tmp_path / "network.npz", 8)
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=5))
    for again in (lambda: run(workdir, longer), lambda: load_run(workdir)):
        with pytest.raises(ValueError, match="is not the one that the run was begun with") as error:
            again()
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert tiny_run.newest_step(workdir) == 3

    write_network(tmp_path / "network.npz", 7)
    assert run(workdir, longer) == 0
    assert tiny_run.newest_step(workdir) == 5
    assert manifest.is_finished(workdir / "checkpoints" / "00000005")
