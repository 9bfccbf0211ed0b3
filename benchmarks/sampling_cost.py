"""How sampling's cost grows: `python -m benchmarks.sampling_cost [--case small]`.

DDIM with several numbers of steps and of images, beside bare calls of the network, in turns; prints
a markdown table. "Over bare calls" is the time of a step over that of a compiled call of the
network on as many images: what the loop, the solver and the codec add.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.cases import CASES, Case
from benchmarks.diffax_worker import spec_of
from benchmarks.worker import timed
from diffax import models
from diffax.compilation import jit
from diffax.generation import Model, Sampling, generate
from diffax.objectives import Denoising
from diffax.parameterization import Eps
from diffax.schedules import Cosine
from diffax.solvers import DDIM

SETTINGS = ((10, 16), (25, 16), (50, 16), (100, 16), (25, 32), (25, 64))  # steps, images
CALLS = 20  # of the bare network, timed together


def main() -> None:
    """Measures one case, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--case", choices=("digits", "small", "cifar"), default="small")
    parser.add_argument("--rounds", type=int, default=7, help="turns; medians are printed")
    flags = parser.parse_args()
    model_of, apply = _built(CASES[flags.case])
    runs: dict[tuple[int, int], Callable[[], dict]] = {
        (steps, images): _sampled(model_of(steps, images)) for steps, images in SETTINGS
    } | {(0, images): _bare(apply, images) for images in {images for _, images in SETTINGS}}
    for run in runs.values():
        run()  # compiled
    rounds = [{name: run()["seconds"] for name, run in runs.items()} for _ in range(flags.rounds)]
    seconds = {name: statistics.median(one[name] for one in rounds) for name in runs}
    print("| steps | images | seconds | a step and image | over bare calls |")
    print("|---:|---:|---:|---:|---:|")
    for steps, images in SETTINGS:
        taken = seconds[steps, images]
        each, bare = taken / steps / images, seconds[0, images]
        cells = f"{taken:.3f} | {1e3 * each:.3f} ms | {taken / steps / bare:.3f}"
        print(f"| {steps} | {images} | {cells} |")


def _built(case: Case) -> tuple[Callable[[int, int], Model], Callable[[int], jax.Array]]:
    """The case's model by steps and images, and its network as one compiled function."""
    kind, fields = case.ours
    network = getattr(models, kind)(**fields)
    objective = Denoising(
        network=network, schedule=Cosine(num_steps=1000), parameterization=Eps()
    ).build(spec_of(case))
    x, t = jnp.ones((1, *case.shape)), jnp.ones(1)
    trainable = {"network": models.init(network, jax.random.key(0), x, t)}
    compiled = jit(network.apply)

    def model_of(steps: int, images: int) -> Model:
        settings = Sampling(solver=DDIM(eta=0.0), steps=steps, num=images, batch_size=images)
        return objective.model(trainable, {}, settings)

    def apply(images: int) -> jax.Array:
        x, t = jnp.ones((images, *case.shape)), jnp.arange(images) * 1.0
        return compiled(trainable["network"], x, t)

    return model_of, apply


def _sampled(model: Model) -> Callable[[], dict]:
    return timed(lambda: jax.block_until_ready(generate(model).x))


def _bare(apply: Callable, images: int) -> Callable[[], dict]:
    return timed(lambda: [jax.block_until_ready(apply(images)) for _ in range(CALLS)], CALLS)


if __name__ == "__main__":
    main()
