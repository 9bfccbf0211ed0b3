"""Everything that a config becomes before the first step."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from diffax.data import Dataset, Spec
from diffax.models import fingerprint, parameter_count
from diffax.objectives import Objective
from diffax.training import devices
from diffax.training.call import compile_call
from diffax.training.config import Config, TrainConfig
from diffax.training.image_size import warn_of_another_size
from diffax.training.initial import started
from diffax.training.keeping.frozen import Reference, data_reference
from diffax.training.latents import with_latents
from diffax.training.state import Begin, TrainState, abstract, begun, frozen_parts, make_begin
from diffax.training.step import Problem, make_step


@dataclass(frozen=True)
class Setup:
    """A run before its first step: all of it checked, nothing written.

    Attributes:
        config: resolved.
        dataset: opened, and what a run's batches are taken from.
        spec: what the recipe's data say of themselves.
        objective: built for these data.
        problem: what a step needs.
        mesh: all devices.
        begin: (seed, loaded) -> (state, frozen).
        places: shapes and places of state and frozen parts.
        example: shapes of what the step takes of one example batch, [1, ...].
        stack: steps in one compiled call, k.
    """

    config: Config
    dataset: Dataset
    spec: Spec
    objective: Objective
    problem: Problem
    mesh: Mesh
    begin: Begin
    places: tuple[TrainState, Any]
    example: dict[str, jax.ShapeDtypeStruct]
    stack: int

    def start(self, beside: Callable[[], Any] | None = None) -> tuple[TrainState, Any]:
        """State and frozen parts at step 0, `beside` called meanwhile where it can do no harm.

        Raises as `initial.started`.
        """
        train, places = self.config.train, self.places
        if train.init_from is None:
            return begun(self.begin, train.seed, self.objective.loaded, places, beside)
        # Other weights may be refused, and that at once: nothing beside.
        state, frozen = begun(self.begin, train.seed, self.objective.loaded, places)
        return started(train.init_from, state, places[0], self.problem), frozen

    def frozen(self) -> Any:
        """The frozen parts alone, for a run that continues."""
        seed = self.config.train.seed
        return frozen_parts(self.begin, seed, self.objective.loaded, self.places[1])

    @functools.cached_property
    def references(self) -> list[Reference]:
        """The frozen parts and the data, as a checkpoint refers to them."""
        held = self.dataset.source.fingerprint
        data = [data_reference(self.config.data, held)] if held else []
        return references_of(self.objective) + data

    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of what a call takes: a stack of batches, [k, B, ...]."""
        rows = (self.stack, self.config.train.batch_size)
        sharding = devices.batch_sharding(self.mesh, stacked=True)
        return {
            name: jax.ShapeDtypeStruct((*rows, *one.shape[1:]), one.dtype, sharding=sharding)
            for name, one in self.example.items()
        }

    @property
    def packed(self) -> bool:
        """Whether a compiled call may hold the state packed, see `compile_call`."""
        return self.config.optimizer.elementwise(self.places[0].trainable)

    @functools.cached_property
    def compiled(self) -> tuple[Any, float]:
        """What `compile` gives, made when first asked for, and the seconds that took."""
        began = time.perf_counter()
        return self.compile(), time.perf_counter() - began

    def compile(self) -> Any:
        """The compiled call (state, frozen, batches, count, stop) -> (state, metrics, stopped).

        Where batches have several shapes, one program for each, compiled when it is first met.
        """
        batches = self.batch_shapes()
        several = self.dataset.source.arrange is not None
        return EachShape(self._compiled, batches) if several else self._compiled(batches)

    def _compiled(self, batches: dict[str, jax.ShapeDtypeStruct]) -> Any:
        return compile_call(
            make_step(self.problem),
            self.places,
            batches,
            self.mesh,
            packed=self.packed,
            quick=self.config.train.quick,
        )

    def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Puts a stack of at most k batches on the devices, filled up to k."""
        batch = self.objective.columns(batch)
        missing = self.stack - len(batch["x"])
        if missing:
            batch = {
                name: np.concatenate([value, np.zeros((missing, *value.shape[1:]), value.dtype)])
                for name, value in batch.items()
            }
        return devices.put_batch(batch, self.mesh, self.config.train.batch_size)

    def report(self) -> str:
        """Data, parameters and memory, in a few lines."""
        state, frozen = self.places
        sizes = jax.tree.map(lambda leaf: leaf.sharding, state)
        each = devices.bytes_per_device(state, sizes)
        shared = self.mesh.shape["fsdp"]
        spread = f", one copy shared by {shared}" if shared > 1 else ""
        kept = f", {parameter_count(frozen):,} frozen" if jax.tree.leaves(frozen) else ""
        return "\n".join(
            [
                self.dataset.summary(),
                f"objective {type(self.config.objective).__name__}: "
                f"{parameter_count(state.trainable):,} parameters{kept}",
                f"devices: {self.mesh.size} x {jax.devices()[0].device_kind}{spread}; "
                f"state {each / 2**20:,.1f} MiB a device (parameters, optimizer, "
                f"{len(state.ema)} averages)",
            ]
        )


class EachShape:
    """A call compiled once for every shape of batches.

    Args:
        compile: shapes of a stack of batches -> the compiled call.
        first: the shapes to compile at once.
    """

    def __init__(self, compile: Callable[[Any], Any], first: dict[str, Any]) -> None:
        self._compile = compile
        self.calls = {self._key(first): compile(first)}

    def __call__(self, state: TrainState, frozen: Any, batches: Any, *more: Any) -> Any:
        """The call of these batches' shapes."""
        key = self._key(batches)
        if key not in self.calls:
            self.calls[key] = self._compile(
                jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(
                        leaf.shape, leaf.dtype, sharding=leaf.sharding
                    ),
                    batches,
                )
            )
        return self.calls[key](state, frozen, batches, *more)

    def memory_analysis(self) -> Any:
        """Of the first of them."""
        return next(iter(self.calls.values())).memory_analysis()

    @staticmethod
    def _key(batches: dict[str, Any]) -> tuple:
        return tuple(sorted((name, leaf.shape) for name, leaf in batches.items()))


def prepare(config: Config) -> Setup:
    """Opens the data, builds everything and checks that it fits together.

    Raises:
        ValueError, FileNotFoundError: one line on what does not.
    """
    mesh = devices.make_mesh(config.train.fsdp)
    train = config.train
    devices.check_batch(train.batch_size, train.accumulate, mesh)
    dataset = config.data.load()
    if dataset.source.arrange is not None and train.steps_per_call > 1:
        raise ValueError(
            "data.buckets gives every step images of its own shape; set train.steps_per_call 1"
        )
    spec = dataset.spec
    objective = config.objective.build(spec)
    warn_of_another_size(config.objective, spec)
    objective, dataset = with_latents(objective, config.objective, dataset)
    example = example_of(objective, dataset.spec)

    def optimizer(trainable: Any) -> optax.GradientTransformation:
        return config.optimizer.build(trainable, steps=train.steps, batch_size=train.batch_size)

    begin = make_begin(objective, example, optimizer, config.ema)
    places = abstract(begin, objective.loaded, mesh)
    problem = Problem(
        loss=objective.loss,
        optimizer=optimizer(places[0].trainable),
        ema=config.ema,
        batch_size=train.batch_size,
        accumulate=train.accumulate,
        skip_nonfinite=train.nonfinite == "skip",
    )
    setup = Setup(
        config, dataset, spec, objective, problem, mesh, begin, places, example, stack_of(config)
    )
    objective.check_sampling(config.sample)  # before anything is trained
    return setup


def example_of(objective: Objective, spec: Spec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of what a step takes of one example, [1, ...]."""
    columns = objective.columns(spec.blank())
    return {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in columns.items()}


def references_of(objective: Objective) -> list[Reference]:
    """What was loaded from files, by source and fingerprint."""
    return [
        {"source": f"{part}: {objective.sources.get(part, '?')}", "fingerprint": fingerprint(tree)}
        for part, tree in sorted(objective.loaded.items())
    ]


def stack_of(config: Config) -> int:
    """The longest call: as many steps as may run without anything to log, show or save."""
    train = config.train
    return min(train.steps_per_call, train.steps, *_intervals(config))


def next_boundary(step: int, config: Config) -> int:
    """Where the call that starts at a step ends.

    A function of the step alone, so that an interrupted run cuts its calls as an uninterrupted one.
    """
    train: TrainConfig = config.train
    ends = [(step // n + 1) * n for n in (train.steps_per_call, *_intervals(config))]
    return min(*ends, train.steps)


def _intervals(config: Config) -> list[int]:
    train = config.train
    every = [train.log_every, train.save_every, train.sample_every, config.evaluation.every]
    return [n for n in every if n > 0]
