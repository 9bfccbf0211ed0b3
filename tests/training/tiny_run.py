"""A run small enough to be made hundreds of times, and ways to end it early."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from diffax.data import Toy
from diffax.generation import Sampling
from diffax.models import VectorMLP
from diffax.objectives import Denoising
from diffax.training import (
    Checkpoints,
    Config,
    Cosine,
    EMAConfig,
    Optimizer,
    Options,
    Recipe,
    TrainConfig,
    prepare,
    train_recipe,
)

STEPS = 20


def tiny_config(**changes) -> Config:
    """20 steps of a tiny network on 512 vectors; `changes` are fields of `train`."""
    fields = dict(
        steps=STEPS,
        batch_size=32,
        log_every=4,
        save_every=5,
        sample_every=0,
        keep_last=100,
        tensorboard=False,
        images=False,
        workers=1,
    )
    return Config(
        data=Toy(num=512),
        objective=Denoising(network=VectorMLP(features=16, num_blocks=1)),
        ema=EMAConfig(decays=(0.99,), widths=(0.1,)),
        optimizer=Optimizer(learning_rate=1e-2, warmup_steps=3, decay=Cosine()),
        train=TrainConfig(**fields | changes),
        sample=Sampling(steps=2, num=4, clip=None),
    )


def run(workdir: Path, config: Config, **options) -> int:
    """Trains in this process; the exit status."""
    recipe = Recipe("tiny", "", Path("tiny.py"), config)
    return train_recipe(recipe, config, Path(workdir), Options(quiet=True, **options))


def saved_state(workdir: Path, config: Config, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint by name, read back through the code under test."""
    checkpoints = Checkpoints(Path(workdir) / "checkpoints")
    assert checkpoints.problems(step) == []
    state = checkpoints.restore(step, prepare(config).places[0])
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    checkpoints.close()
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Bitwise, all of it."""
    assert a.keys() == b.keys()
    different = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    assert not different, different


def loss_curve(workdir: Path) -> str:
    return (Path(workdir) / "metrics.jsonl").read_text()


def end_at(workdir: Path, config: Config, step: int, how: str):
    """A `before_call` that ends the run when it is about to make step `step` + 1.

    How: "SIGTERM", "SIGINT", "SIGUSR1" or "SIGKILL" to this very process, or "crash", an exception
    out of nowhere.
    """

    def end(made: int) -> None:
        if made != step:
            return
        if how == "crash":
            raise Crash
        if how == "SIGKILL":  # with no save under way: its own test
            last = made // config.train.save_every * config.train.save_every
            wait_until(lambda: (newest_step(workdir) or 0) == last)
        os.kill(os.getpid(), getattr(signal, how))

    return end


class Crash(BaseException):
    """Stands for everything that ends a process without a word."""


# ---------------------------------------------------------------- in a process of its own


def child_run(workdir, config: Config, ending=None, cache: str | None = None) -> None:
    """What a child does; `ending` is (step, how) or ("delay", seconds) for SIGKILL by the clock."""
    if cache:
        use_cache(cache)
    before_call = None
    if ending is not None:
        delay = ending[0] == "delay"
        before_call = _kill_after(ending[1]) if delay else end_at(workdir, config, *ending)
    os._exit(run(workdir, config, before_call=before_call))


def _kill_after(seconds: float):
    """A `before_call` that sends SIGKILL so many seconds after the first step."""
    timers = []

    def begin(made: int) -> None:
        if not timers:
            timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)))
            timers[0].daemon = True
            timers[0].start()

    return begin


def use_cache(folder: str) -> None:
    """The same program compiled once for all runs of a test session."""
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def spawn(workdir, config: Config, ending=None, cache=None) -> int:
    """Runs in a fresh process with everything imported; its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny_run"])
    process = context.Process(target=child_run, args=(str(workdir), config, ending, cache))
    process.start()
    process.join(240)
    assert process.exitcode is not None, "a run hangs"
    return process.exitcode


def newest_step(workdir: Path) -> int | None:
    """Of the newest finished checkpoint."""
    folders = (Path(workdir) / "checkpoints").glob("*/manifest.json")
    return max((int(folder.parent.name) for folder in folders), default=None)


def last_row(workdir: Path) -> dict:
    return json.loads(loss_curve(workdir).splitlines()[-1])


def wait_until(condition, seconds: float = 60) -> None:
    began = time.time()
    while not condition():
        assert time.time() - began < seconds, "waited in vain"
        time.sleep(0.01)
