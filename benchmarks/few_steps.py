"""Few-step models on the S-curve: sliced 2-Wasserstein distance to fresh data at 1, 2 and 4 calls.

    python benchmarks/few_steps.py

A teacher (v, cosine, DDIM), its progressive students of 8, 4, 2 and 1 steps, a consistency model
distilled from it and one trained alone, a flow with and without optimal-transport pairs, and that
flow after reflow. One small MLP for all. Writes `benchmarks/results/few_steps.json`.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from diffax import atomic, parameterization, schedules
from diffax.codecs import Identity
from diffax.data import Pairs, Toy, toy
from diffax.evaluation import sliced_wasserstein
from diffax.generation import Sampling, generate, save_pairs
from diffax.losses import Stratified
from diffax.models import VectorMLP
from diffax.objectives import (
    ConsistencyDistillation,
    ConsistencyTraining,
    Denoising,
    OptimalTransport,
    Paired,
    Progressive,
)
from diffax.solvers import DDIM, Consistency
from diffax.training import (
    Cosine,
    EMAConfig,
    Optimizer,
    TrainedRun,
    load_run,
    train,
)

RESULT = Path(__file__).parent / "results" / "few_steps.json"
NETWORK = VectorMLP(features=128, num_blocks=3)  # for times of a table, 0 to 999
DDIM_8 = Sampling(solver=DDIM(), steps=8, clip=None, num=10_000, batch_size=10_000)
JUMPS = dataclasses.replace(DDIM_8, solver=Consistency())
CALLS = (1, 2, 4)


def main() -> None:
    """Train, measure, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000, help="of training from scratch")
    flags = parser.parse_args()
    device = jax.devices()[0].device_kind
    found: dict[str, dict[str, float]] = {"real data": {"0": distance(fresh(2))}}
    result = {"steps": flags.steps, "jax": jax.__version__, "device": device, "distance": found}
    with tempfile.TemporaryDirectory() as folder:
        for name, distances in measured(Path(folder), flags.steps):
            found[name] = distances
            print(name, distances, flush=True)
            atomic.write(RESULT, (json.dumps(result, indent=1) + "\n").encode())


def measured(folder: Path, steps: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Models by name, each with its distances by calls."""

    def at(run: Path, calls=CALLS) -> dict[str, float]:
        return {str(n): distance(samples(run, n)) for n in calls}

    denoising = Denoising(NETWORK, schedules.Cosine(), parameterization.V(), Stratified())
    teacher = trained(folder / "teacher", denoising, steps, DDIM_8)
    yield "teacher", at(teacher, (*CALLS, 8, 16, 50))
    before = teacher
    for n in (8, 4, 2, 1):
        objective = Progressive(TrainedRun(str(before)), steps=n)
        before = trained(folder / f"progressive_{n}", objective, steps // 4, DDIM_8)
        yield f"progressive, {n} steps", at(before, (n,))
    objective = ConsistencyDistillation(TrainedRun(str(teacher)), intervals=40)
    yield "consistency distillation", at(trained(folder / "distilled", objective, steps, JUMPS))
    alone = ConsistencyTraining(NETWORK.clone(time_scale=100.0), intervals=40)
    jumps = dataclasses.replace(JUMPS, spacing="karras")
    yield "consistency training", at(trained(folder / "alone", alone, steps, jumps))

    network = NETWORK.clone(time_scale=1000.0)
    flow = Denoising(network, schedules.RectifiedFlow(), parameterization.Velocity(), Stratified())
    plain = trained(folder / "flow", flow, steps, DDIM_8)
    yield "flow", at(plain, (*CALLS, 50))
    coupled = dataclasses.replace(flow, coupling=OptimalTransport())
    yield "flow, optimal transport", at(trained(folder / "coupled", coupled, steps, DDIM_8))
    save_pairs(load_run(plain), folder / "pairs.npz", num=20_000, steps=50)
    straight = dataclasses.replace(
        flow, network=TrainedRun(str(plain)), coupling=Paired(), codec=Identity()
    )
    run = trained(folder / "reflow", straight, steps, DDIM_8, data=Pairs(str(folder / "pairs.npz")))
    model = load_run(plain)
    decoded = {n: model.codec.decode(generate(load_run(run), steps=n).x) for n in CALLS}
    yield "flow, reflow", {str(n): distance(np.asarray(x)) for n, x in decoded.items()}


def trained(path: Path, objective, steps: int, sampling, data=None) -> Path:
    """The folder of a finished run."""
    run = train(
        objective,
        data or Toy("s_curve", num=0),
        Optimizer(learning_rate=1e-3, warmup_steps=100, decay=Cosine()),
        path,
        ema=EMAConfig(decays=(0.99,)),
        sample=sampling,
        quiet=True,
        steps=steps,
        batch_size=256,
        steps_per_call=100,
        log_every=500,
        save_every=steps,
        sample_every=0,
        tensorboard=False,
        images=False,
    )
    if run.step < steps:
        raise SystemExit(130)
    return path


def samples(run: Path, steps: int) -> np.ndarray:
    """10,000 samples in the data's own coordinates."""
    return np.asarray(generate(load_run(run), steps=steps).data)


def fresh(seed: int) -> np.ndarray:
    """10,000 new data."""
    return toy.draw("s_curve", 10_000, 2**31 + seed, None)[0]


def distance(x: np.ndarray) -> float:
    """To fresh data."""
    return round(sliced_wasserstein(x, fresh(1)), 4)


if __name__ == "__main__":
    main()
