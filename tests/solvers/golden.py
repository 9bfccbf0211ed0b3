"""Runs diffax on the configurations of the golden table, many to a compilation."""

import importlib.util
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import diffax
from diffax import parameterization

HERE = Path(__file__).parents[1] / "golden" / "solvers"


def load(name: str):
    """A module of the golden folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"golden_samplers_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = load("cases")
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
PLAIN = (parameterization.Eps(), parameterization.V(), parameterization.X0())


def table() -> tuple[list[tuple[dict, int]], np.ndarray, np.ndarray]:
    """Configurations, float32 and float64 results, each `[N, 4]`."""
    with np.load(HERE / "table.npz") as stored:
        configs = json.loads(stored["cases"].tobytes())
        return [tuple(c) for c in configs], stored["single"], stored["double"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnyDenoiser:
    """The test network under a traced choice of parameterization."""

    kind: jax.Array
    readings: tuple = field(metadata={"static": True})
    limits: Callable = field(metadata={"static": True})

    def __call__(self, x, point):
        guesses = []
        for reading in self.readings:
            network = diffax.Network(_apply, None, None, reading)
            guesses.append(network(x, point))
        guess = jax.tree.map(lambda *options: jnp.stack(options)[self.kind], *guesses)
        return self.limits(lambda *_: guess)(x, point)


def _apply(params, x, t, condition):
    return cases.network(x, t.reshape((-1,) + (1,) * (x.ndim - 1)), jnp)


def setup_of(config: dict, steps: int):
    """diffax's setup; eta is no field of a configuration file but an argument of the step."""
    given = {"eta": config["eta"]} if "eta" in config else {}
    return diffax.pretrained.schedulers.from_diffusers(config, steps, **given)


def run_all(configs: list[tuple[dict, int]]) -> np.ndarray:
    """diffax's results, `[N, 4]`, one compilation for all that differ in numbers only."""
    groups = defaultdict(list)
    for number, (config, steps) in enumerate(configs):
        setup = setup_of(config, steps)
        names = [type(p) for p in PLAIN]
        reading = type(setup.parameterization)
        kind, readings = (names.index(reading), PLAIN) if reading in names else (0, (reading(),))
        limit = setup.limits
        shape = str(jax.tree.structure((setup.solver, setup.grid))), len(setup.grid.t)
        groups[shape, readings, limit].append((number, setup, kind))

    start = jnp.asarray(np.moveaxis(cases.START, 1, -1), jnp.asarray(0.0).dtype)
    noise = jnp.asarray(np.moveaxis(cases.NOISE, 2, -1), start.dtype)

    def one(solver, grid, kind, scale, readings, limit):
        tape = diffax.solvers.NoiseTape(jnp.moveaxis(noise[: grid.t.shape[0]], 0, 1))
        denoiser = AnyDenoiser(kind, readings, limit)
        final = diffax.sample(denoiser, solver, grid, scale * start, tape)
        # Schedulers that step x / alpha also return that, which differs where the end is not clean.
        return final / grid.alpha[-1] if isinstance(solver, diffax.solvers.Euler) else final

    results = np.zeros((len(configs), cases.START.size))
    for (_, readings, limit), members in groups.items():
        numbers, setups, kinds = zip(*members, strict=True)
        solvers = _stacked([jax.tree.map(jnp.asarray, setup.solver) for setup in setups])
        grids = _stacked([setup.grid for setup in setups])
        scales = jnp.stack([setup.start_scale for setup in setups])
        run = jax.vmap(partial(one, readings=readings, limit=limit))
        # Compiling costs more here than running.
        run = jax.jit(run, compiler_options=QUICK)
        out = run(solvers, grids, jnp.array(kinds), scales)
        results[list(numbers)] = np.asarray(out).reshape(len(members), -1)
    return results


def _stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Largest difference of each run relative to its largest value, `[N]`."""
    return np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)
