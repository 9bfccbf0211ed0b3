"""Run as a program, with as many simulated devices as XLA_FLAGS says: tests of sharding.

python many_devices.py train WORKDIR CHANGES     a tiny run; CHANGES: JSON, fields of `train`
python many_devices.py train_until WORKDIR CHANGES STEP     the same, ended there by SIGTERM
python many_devices.py shards FILE FSDP          bytes of a state on one device
python many_devices.py noise FILE                the noise and the batch that a step sees
python many_devices.py everything FOLDER FSDP    noise.npz, sizes.json and a run in FOLDER/run
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import tiny_run

from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import devices, prepare


def train(workdir: str, changes: str) -> None:
    sys.exit(tiny_run.run(workdir, wide_config(**json.loads(changes))))


def train_until(workdir: str, changes: str, step: str) -> None:
    config = wide_config(**json.loads(changes))
    end = tiny_run.end_at(workdir, config, int(step) - 1, "SIGTERM")
    assert tiny_run.run(workdir, config, before_call=end) == 143


def wide_config(**changes):
    """Wide enough for its matrices to be cut, and a line of metrics a step."""
    config = tiny_run.tiny_config(**{"steps": 10, "log_every": 1, "batch_size": 64} | changes)
    return with_network(config, VectorMLP(features=64, num_blocks=1))


def with_network(config, network):
    return dataclasses.replace(config, objective=Denoising(network=network))


def shards(path: str, fsdp: str) -> None:
    config = with_network(wide_config(fsdp=int(fsdp)), VectorMLP(features=256, num_blocks=2))
    made, _ = prepare(config).start()
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


def everything(folder: str, fsdp: str) -> None:
    noise(f"{folder}/noise.npz")
    shards(f"{folder}/sizes.json", fsdp)
    train(f"{folder}/run", json.dumps({"fsdp": int(fsdp)}))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
