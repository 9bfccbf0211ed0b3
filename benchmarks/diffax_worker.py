"""Our side of a case: `python -m benchmarks.diffax_worker CASE`, spoken to by the runner."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from benchmarks.cases import Case, cases
from benchmarks.random_pipeline import PROMPT, random_components, random_network
from benchmarks.worker import peak_memory, serve, timed
from diffax import models
from diffax.compilation import jit, llvm_level
from diffax.data import Column, Spec
from diffax.generation import Model, Sampling, generate, text_to_image
from diffax.objectives import Denoising
from diffax.parameterization import Eps
from diffax.pretrained import model_of
from diffax.pretrained.families import FAMILIES
from diffax.schedules import Cosine
from diffax.solvers import DDIM
from diffax.training import EMAConfig, Optimizer
from diffax.training.call import compile_call
from diffax.training.devices import batch_sharding, make_mesh
from diffax.training.setup import example_of
from diffax.training.state import abstract, begun, make_begin
from diffax.training.step import Problem, make_step


def main() -> None:
    """Builds the case, compiles what is measured, then serves; `compile`: no more than that."""
    case, alone = cases(tiny="tiny" in sys.argv[2:])[sys.argv[1]], "compile" in sys.argv[2:]
    answers = {"memory": memory, "ceiling": ceiling}
    facts = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    made = trained if case.train else published
    answers |= made(case, facts, alone)
    serve(answers | {"facts": lambda: facts})


@dataclass(frozen=True)
class Training:
    """A case's training, before anything is drawn or compiled.

    Attributes:
        objective: denoising with the case's network.
        begin: the function that draws the state.
        problem: what the step needs to know.
        places: shapes and places of the state and of the frozen parts.
        batches: those of a call's batches.
    """

    objective: Any
    begin: Callable[..., Any]
    problem: Problem
    places: Any
    batches: dict[str, jax.ShapeDtypeStruct]


def training_of(case: Case, mesh: Mesh) -> Training:
    """Training as `train.py` sets it up."""
    kind, fields = case.ours
    spec = spec_of(case)
    dtype = {"dtype": "bfloat16"} if case.bfloat16 else {}
    schedule = Cosine(num_steps=100 if kind == "StepMLP" else 1000)
    network = getattr(models, kind)(**fields, **dtype)
    objective = Denoising(network=network, schedule=schedule, parameterization=Eps()).build(spec)
    example, ema = example_of(objective, spec), EMAConfig((0.999,))

    def optimizer(trainable):
        return Optimizer(learning_rate=1e-4).build(trainable, steps=1000, batch_size=case.batch)

    begin = make_begin(objective, example, optimizer, ema)
    places = abstract(begin, objective.loaded, mesh)
    problem = Problem(objective.loss, optimizer(places[0].trainable), ema, case.batch)
    sharding = batch_sharding(mesh, stacked=True)
    batches = {
        name: jax.ShapeDtypeStruct(
            (case.stack, case.batch, *one.shape[1:]), one.dtype, sharding=sharding
        )
        for name, one in example.items()
    }
    return Training(objective, begin, problem, places, batches)


def trained(case: Case, facts: dict, alone: bool) -> dict:
    """Training as `train.py` does it; the network alone; sampling as `sample.py` does it.

    Args:
        case: what is built.
        facts: for what is known before the first step.
        alone: no more than the training call is compiled, nothing beside it.
    """
    mesh = make_mesh()
    training = training_of(case, mesh)
    objective, places, batches = training.objective, training.places, training.batches
    calls: list[Any] = []

    def compiled() -> None:
        began, processor = time.perf_counter(), time.process_time()
        step = make_step(training.problem)
        calls.append(compile_call(step, places, batches, mesh, packed=True))
        facts["compile"] = time.perf_counter() - began
        facts["compile_processor"] = time.process_time() - processor

    if alone:
        compiled()
        return {}
    state, frozen = begun(training.begin, 0, objective.loaded, places, beside=compiled)
    call = calls[0]
    facts["parameters"] = models.parameter_count(places[0].trainable)
    facts["step_flops"] = (call.cost_analysis() or {}).get("flops")

    draws = np.random.default_rng(0)
    drawn = {name: _drawn(draws, shape) for name, shape in batches.items()}
    batch = jax.device_put(drawn, batch_sharding(mesh, stacked=True))
    held = [state]

    def step():
        held[0], metrics, _ = call(
            held[0], frozen, batch, np.int32(case.stack), np.zeros(mesh.size, np.int32)
        )
        jax.block_until_ready(metrics)

    solver, images = DDIM(eta=0.0), case.sample or (1, 1)
    settings = Sampling(solver=solver, steps=images[1], num=images[0], batch_size=images[0])

    def sampled():
        model = objective.model(held[0].trainable, frozen, settings)
        jax.block_until_ready(generate(model).x)

    x, t = jnp.ones((case.batch, *case.shape)), jnp.arange(case.batch) * 1.0
    condition = {"label": jnp.zeros(case.batch, jnp.int32)} if case.labels else {}
    apply = jit(objective.network.apply)  # as `generate` has it

    def forward():
        params = held[0].trainable["network"]
        jax.block_until_ready(apply(params, x, t, condition))

    return {
        "train": timed(step, case.stack),
        "forward": timed(forward),
        "sample": timed(sampled),
    }


def published(case: Case, facts: dict, alone: bool) -> dict:
    """One call of a published network with random weights; from a text to pictures."""
    dtype = "bfloat16" if case.bfloat16 else "float32"
    family, changes = case.ours
    sampled: Any = None
    if case.sample is None or alone:
        config = FAMILIES[family]["unet"] | changes
        network = random_network(config, dtype, np.random.default_rng(0))
    else:
        parts = random_components(family, dtype, changes)
        network, sampled = parts.unet, _pictures(case, model_of(parts))
    module, params = network.module, network.params
    x = jnp.ones((case.batch, *case.shape), dtype)
    t = jnp.arange(case.batch) * 1.0
    condition = {"context": jnp.ones((case.batch, *case.context), dtype)}
    began, processor = time.perf_counter(), time.process_time()
    apply = jax.jit(module.apply, compiler_options=llvm_level(1))
    apply = apply.lower(params, x, t, condition).compile()
    facts["compile"] = time.perf_counter() - began
    facts["compile_processor"] = time.process_time() - processor
    facts["parameters"] = models.parameter_count(params)
    if alone:
        return {}
    forward = timed(lambda: jax.block_until_ready(apply(params, x, t, condition)))
    return {"forward": forward} | ({"sample": timed(sampled)} if sampled else {})


def _pictures(case: Case, model: Model) -> Callable[[], Any]:
    """From a text to pictures, as `sample.py` makes them."""
    num, steps = case.sample or (1, 1)
    size = 8 * case.shape[0]
    options = dict(num=num, steps=steps, height=size, width=size, sampler="ddim")
    return lambda: jax.block_until_ready(text_to_image(model, PROMPT, **options))


def memory() -> float:
    """The most memory the device has held, GiB."""
    held = jax.local_devices()[0].memory_stats() or {}
    return held["peak_bytes_in_use"] / 2**30 if not _on_cpu() else peak_memory()


def ceiling() -> dict:
    """GFLOP/s of a product of two matrices in the computation's type: the best of several."""
    size, dtype = (1024, jnp.float32) if _on_cpu() else (8192, jnp.bfloat16)
    a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    product = jax.jit(lambda a: a @ a)
    run = timed(lambda: jax.block_until_ready(product(a)))
    return {"gflops": 2e-9 * size**3 / min(run()["seconds"] for _ in range(10))}


def spec_of(case: Case) -> Spec:
    """What data of the case's shape says of itself."""
    image = len(case.shape) == 3 and case.shape[-1] in (1, 3)
    columns = {"x": Column(case.shape, "uint8" if image else "float32")}
    known = {}
    if case.labels:
        columns["label"] = Column((), "int32")
        known["class_names"] = tuple(map(str, range(case.labels)))
    if not image:
        zeros, ones = (0.0,) * case.shape[-1], (1.0,) * case.shape[-1]
        known |= {"mean": zeros, "std": ones}
    return Spec(columns, size=50_000, **known)


def _drawn(draws: np.random.Generator, like: jax.ShapeDtypeStruct) -> np.ndarray:
    if jnp.issubdtype(like.dtype, jnp.integer):
        return draws.integers(0, 10, like.shape).astype(like.dtype)
    return draws.standard_normal(like.shape, np.float32).astype(like.dtype)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


if __name__ == "__main__":
    main()
