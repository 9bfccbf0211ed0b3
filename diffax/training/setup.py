"""Everything that a config becomes before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from diffax.data import Dataset, load
from diffax.models import parameter_count
from diffax.schedules import Discrete, warn_if_signal_remains
from diffax.training import devices
from diffax.training.config import Config, TrainConfig
from diffax.training.run import Facts, facts_of, fitted_model
from diffax.training.state import TrainState, abstract_state, make_init
from diffax.training.step import Problem, make_call, make_step


@dataclass(frozen=True)
class Setup:
    """A run before its first step: all of it checked, nothing written.

    Attributes:
        config: resolved.
        dataset: opened.
        facts: of the data.
        problem: what a step needs.
        mesh: all devices.
        init: seed -> state.
        abstract: the state's shapes and places.
        stack: steps in one compiled call, k.
    """

    config: Config
    dataset: Dataset
    facts: Facts
    problem: Problem
    mesh: Mesh
    init: Any
    abstract: TrainState
    stack: int

    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of what a call takes: a stack of batches, [k, B, ...]."""
        rows = (self.stack, self.config.train.batch_size)
        sharding = devices.batch_sharding(self.mesh, stacked=True)
        dtype = jnp.uint8 if self.facts.kind == "image" else jnp.float32
        shapes = {"x": jax.ShapeDtypeStruct((*rows, *self.facts.shape), dtype, sharding=sharding)}
        if self.problem.num_classes:
            shapes["label"] = jax.ShapeDtypeStruct(rows, jnp.int32, sharding=sharding)
        return shapes

    def compile(self) -> Any:
        """The compiled call (state, batches, count, stop) -> (state, metrics, stopped)."""
        batches = self.batch_shapes()
        call = make_call(make_step(self.problem), self.abstract, batches, self.mesh)
        stop = jax.ShapeDtypeStruct(
            (self.mesh.size,), jnp.int32, sharding=devices.batch_sharding(self.mesh)
        )
        count = jax.ShapeDtypeStruct((), jnp.int32)
        return call.lower(self.abstract, batches, count, stop).compile()

    def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts a stack of at most k batches on the devices, filled up to k."""
        batch = {name: batch[name] for name in self.batch_shapes()}
        missing = self.stack - len(batch["x"])
        if missing:
            batch = {
                name: np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)])
                for name, value in batch.items()
            }
        return devices.put_batch(batch, self.mesh, self.config.train.batch_size)

    def report(self) -> str:
        """Data, parameters and memory, in a few lines."""
        places = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        state = devices.bytes_per_device(self.abstract, places)
        count = self.mesh.size
        shared = self.mesh.shape["fsdp"]
        spread = f", one copy shared by {shared}" if shared > 1 else ""
        return "\n".join(
            [
                self.dataset.summary(),
                f"model {type(self.problem.model).__name__}: "
                f"{parameter_count(self.abstract.params):,} parameters",
                f"devices: {count} x {jax.devices()[0].device_kind}{spread}; "
                f"state {state / 2**20:,.1f} MiB a device (parameters, optimizer, "
                f"{len(self.abstract.ema)} averages)",
            ]
        )


def prepare(config: Config) -> Setup:
    """Opens the data, builds everything and checks that it fits together.

    Raises:
        ValueError, FileNotFoundError: one line on what does not.
    """
    mesh = devices.make_mesh(config.train.fsdp)
    devices.check_batch(config.train.batch_size, config.train.accumulate, mesh)
    schedule = config.schedule.build()
    if isinstance(schedule, Discrete):
        warn_if_signal_remains(schedule, name=f"schedule {config.schedule.name}")
    config.sample.solver(schedule)
    config.sample.grid(schedule)
    dataset = load(config.data)
    facts = facts_of(dataset)
    model, num_classes = fitted_model(config.model, facts)
    optimizer = config.optimizer.build(steps=config.train.steps, batch_size=config.train.batch_size)
    problem = Problem(
        model=model,
        num_classes=num_classes,
        schedule=schedule,
        parameterization=config.loss.build_parameterization(),
        loss=config.loss,
        optimizer=optimizer,
        ema=config.ema,
        batch_size=config.train.batch_size,
        accumulate=config.train.accumulate,
        skip_nonfinite=config.train.nonfinite == "skip",
    )
    _check_answer(problem, facts)
    init = make_init(model, facts.shape, optimizer, config.ema)
    abstract = abstract_state(init, mesh)
    return Setup(config, dataset, facts, problem, mesh, init, abstract, stack_of(config.train))


def _check_answer(problem: Problem, facts: Facts) -> None:
    """Refuses a network that cannot answer what it will be asked, at once and in one line."""
    x, t = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, *facts.shape), (1,)))
    told = {"label": jax.ShapeDtypeStruct((1,), jnp.int32)} if problem.num_classes else {}
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    params = jax.eval_shape(problem.model.init, key, x, t)
    answer = jax.eval_shape(problem.model.apply, params, x, t, told)
    if answer.shape != x.shape:
        raise ValueError(
            f"the model answers {list(x.shape)} with {list(answer.shape)}; training needs the same "
            "shape: leave model.out_channels at None and model.learned_variance at False"
        )
    known = getattr(problem.model, "num_steps", None)
    times = getattr(problem.schedule, "num_steps", None)
    if known is not None and (times is None or times > known):
        raise ValueError(
            f"the model knows {known} times, the schedule has {times or 'a continuum of them'}; "
            "set model.num_steps and schedule.num_steps to the same number"
        )


def stack_of(train: TrainConfig) -> int:
    """The longest call: as many steps as may run without anything to log, show or save."""
    return min(train.steps_per_call, train.steps, *_intervals(train))


def next_boundary(step: int, train: TrainConfig) -> int:
    """Where the call that starts at a step ends.

    A function of the step alone, so that an interrupted run cuts its calls as an uninterrupted one.
    """
    ends = [(step // n + 1) * n for n in (train.steps_per_call, *_intervals(train))]
    return min(*ends, train.steps)


def _intervals(train: TrainConfig) -> list[int]:
    every = [train.log_every, train.save_every, train.sample_every]
    return [n for n in every if n > 0]
