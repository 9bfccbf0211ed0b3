"""Run as a program, with as many simulated devices as XLA_FLAGS says: tests of sharding.

python many_devices.py train WORKDIR CHANGES     a tiny run; CHANGES: JSON, fields of `train`
python many_devices.py train_until WORKDIR CHANGES STEP     the same, ended there by SIGTERM
python many_devices.py shards FILE FSDP          bytes of a state on one device
python many_devices.py noise FILE                the noise and the batch that a step sees
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import tiny_run

from diffax.models import VectorMLP
from diffax.training import EMAConfig, OptimizerConfig, devices, prepare, state


def train(workdir: str, changes: str) -> None:
    sys.exit(tiny_run.run(workdir, wide_config(**json.loads(changes))))


def train_until(workdir: str, changes: str, step: str) -> None:
    tiny_run.loop._Session._stop_flags = tiny_run.end_at(int(step) - 1, "SIGTERM")
    assert tiny_run.run(workdir, wide_config(**json.loads(changes))) == 143


def wide_config(**changes):
    """Wide enough for its matrices to be cut, and a line of metrics a step."""
    config = tiny_run.tiny_config(**{"steps": 10, "log_every": 1, "batch_size": 64} | changes)
    return tiny_run.dataclasses.replace(config, model=config.model.clone(features=64))


def shards(path: str, fsdp: str) -> None:
    mesh = devices.make_mesh(int(fsdp))
    model = VectorMLP(features=256, num_blocks=2)
    optimizer = OptimizerConfig().build(steps=10, batch_size=8)
    init = state.make_init(model, (2,), optimizer, EMAConfig())
    abstract = state.abstract_state(init, mesh)
    made = state.initial_state(init, 0, abstract)
    arrays = [leaf for leaf in jax.tree.leaves(made) if leaf.dtype == jnp.float32]
    first = jax.devices()[0]
    here = sum(
        shard.data.nbytes for leaf in arrays for shard in leaf.addressable_shards
        if shard.device == first
    )  # fmt: skip
    total = sum(leaf.nbytes for leaf in arrays)
    with open(path, "w") as file:
        json.dump({"total": total, "here": here, "devices": len(jax.devices())}, file)


def noise(path: str) -> None:
    setup = prepare(wide_config())
    batch = setup.place(setup.dataset.batches(3, 1, seed=0, batch_size=64))
    sharding = devices.batch_sharding(setup.mesh)
    draw = jax.jit(
        lambda key: jax.random.normal(jax.random.fold_in(key, 3), (64, 2)), out_shardings=sharding
    )
    np.savez(path, x=batch["x"], noise=draw(jax.random.key(0)))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
