"""What a training step costs beyond a bare loop, and how long a save holds training up.

    python benchmarks/training_overhead.py                      logging, EMA and metrics: digits
    python benchmarks/training_overhead.py --config cifar:reduced --data.dir DIR
    python benchmarks/training_overhead.py --save --data.dir DIR    a save at CIFAR U-Net size

The bare loop makes the same calls of several steps: gradient and optimizer, nothing else. Rounds of
both alternate, so that a machine that slows down slows both. On a CPU that others use too, the
processor time of all threads says more than the clock on the wall; both are printed.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import optax

from diffax.commands.train import with_arguments
from diffax.data import Loader
from diffax.training import Checkpoints, Setup, load_recipe, prepare
from diffax.training.call import compile_call
from diffax.training.keeping.journal import Journal
from diffax.training.metrics import Window
from diffax.training.packing import unpack
from diffax.training.state import TrainState

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=5, help="calls in a round")
    parser.add_argument("--save", action="store_true", help="measure a save instead")
    flags, rest = parser.parse_known_args()
    recipe = load_recipe(flags.config or ("cifar" if flags.save else "digits"), ROOT / "configs")
    if flags.save:
        rest = ["--train.batch_size", "8", "--train.steps_per_call", "1", *rest]
    setup = prepare(with_arguments(recipe.config, rest))
    print(f"{recipe.title}: {setup.report().splitlines()[-2]}, {jax.devices()[0].device_kind}")
    if flags.save:
        measure_save(setup)
    else:
        measure_overhead(setup, flags.rounds, flags.calls)


def measure_overhead(setup: Setup, rounds: int, calls: int) -> None:
    """Prints seconds a step of the bare loop and of the whole, and their ratio."""
    whole, bare = WholeLoop(setup), BareLoop(setup)
    clocks = {"wall": time.perf_counter, "processor": time.process_time}
    times = {(name, clock): [] for name in ("bare", "whole") for clock in clocks}
    for loop in (bare, whole):
        loop.run(2)  # warm
    for _ in range(rounds):
        for name, loop in (("bare", bare), ("whole", whole)):
            began = {clock: read() for clock, read in clocks.items()}
            loop.run(calls)
            for clock, read in clocks.items():
                times[name, clock].append((read() - began[clock]) / (calls * setup.stack))
    for clock in clocks:
        bare, whole = times["bare", clock], times["whole", clock]
        pairs = [w / b for w, b in zip(whole, bare, strict=True)]
        print(
            f"{clock:9} time a step: bare {1e3 * statistics.median(bare):.2f} ms, whole "
            f"{1e3 * statistics.median(whole):.2f} ms; overhead median of rounds "
            f"{100 * (statistics.median(pairs) - 1):+.1f} %, best against best "
            f"{100 * (min(whole) / min(bare) - 1):+.1f} %"
        )


class BareLoop:
    """Gradient and optimizer, on the same batches."""

    def __init__(self, setup: Setup) -> None:
        problem = setup.problem

        def loss(trainable, frozen, batch, key):
            return problem.loss(unpack(trainable), frozen, batch, key)

        gradient = jax.grad(loss, has_aux=True)

        def step(state: TrainState, frozen, batch):
            key = jax.random.fold_in(state.key, state.step)
            grads, _ = gradient(state.trainable, frozen, batch, key)
            updates, opt_state = problem.optimizer.update(grads, state.opt_state, state.trainable)
            trainable = optax.apply_updates(state.trainable, updates)
            state = replace(state, trainable=trainable, opt_state=opt_state, step=state.step + 1)
            return state, {"step": state.step}

        self.setup = setup
        state_places, frozen_places = setup.places
        places = replace(state_places, ema={}), frozen_places
        self.call = compile_call(
            step, places, setup.batch_shapes(), setup.mesh, packed=setup.packed
        )
        state, self.frozen = setup.start()
        self.state = replace(state, ema={})
        self.batch = setup.place(_first_batches(setup))
        self.stop = np.zeros(setup.mesh.size, np.int32)

    def run(self, calls: int) -> None:
        """Makes so many calls and waits for them."""
        for _ in range(calls):
            count = np.int32(self.setup.stack)
            self.state, _, _ = self.call(self.state, self.frozen, self.batch, count, self.stop)
        jax.block_until_ready(self.state.trainable)


class WholeLoop:
    """What `diffax.training.loop` does in its calls: loader, averages, metrics, journal."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.step = setup, 0
        train = setup.config.train
        self.call = setup.compile()
        self.state, self.frozen = setup.start()
        self.loader = Loader(
            setup.dataset,
            seed=0,
            batch_size=train.batch_size,
            stack=setup.stack,
            place=setup.place,
            workers=train.workers,
        )
        self.journal = Journal(Path(tempfile.mkdtemp()), 0)
        self.window = Window()
        self.stop = np.zeros(setup.mesh.size, np.int32)

    def run(self, calls: int) -> None:
        """Makes so many calls, logging as often as the recipe says, and waits for them."""
        stack, every = self.setup.stack, self.setup.config.train.log_every
        for _ in range(calls):
            batch = next(self.loader)
            self.state, metrics, _ = self.call(
                self.state, self.frozen, batch, np.int32(stack), self.stop
            )
            self.window.add(self.step, stack, metrics)
            self.window.keep_up()
            self.step += stack
            if self.step % every < stack:
                self.window.collect(refuse_nonfinite=True)
                self.journal.write({"step": self.step, **self.window.row()})
        jax.block_until_ready(self.state.trainable)


def measure_save(setup: Setup) -> None:
    """Prints how long a save keeps the loop from its next step, and what the next steps take."""
    loop = WholeLoop(setup)
    loop.run(2)
    steps = []
    for _ in range(4):
        began = time.perf_counter()
        loop.run(1)
        steps.append(time.perf_counter() - began)
    usual = statistics.median(steps)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        stalls = []
        for _ in range(3):
            began = time.perf_counter()
            checkpoints.save(loop.state, {})
            held = time.perf_counter() - began
            extra, following = 0.0, 0
            while checkpoints.busy or not following:
                began = time.perf_counter()
                loop.run(1)
                extra += time.perf_counter() - began - usual
                following += 1
            stalls.append(held + extra)
            print(
                f"save: {held:.2f} s until the next step could begin; {following} steps while "
                f"writing, {extra:+.2f} s slower together; step {usual:.2f} s"
            )
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 2**20
        checkpoints.close()
    print(
        f"stall {statistics.median(stalls):.2f} s = {statistics.median(stalls) / usual:.2f} steps; "
        f"{size / 3:,.0f} MiB a checkpoint"
    )


def _first_batches(setup: Setup) -> dict[str, np.ndarray]:
    train = setup.config.train
    return setup.dataset.batches(0, setup.stack, seed=0, batch_size=train.batch_size)


if __name__ == "__main__":
    main()
