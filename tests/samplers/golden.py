"""Runs diffax on the configurations of the golden table, many to a compilation."""

import importlib.util
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import diffax
from diffax import parameterization
from diffax.guidance import Clip, DynamicThreshold
from diffax.samplers.compat import Setup

HERE = Path(__file__).parents[1] / "golden" / "samplers"


def load(name: str):
    """A module of the golden folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"golden_samplers_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = load("cases")
PARAMETERIZATIONS = (
    parameterization.Eps(),
    parameterization.V(),
    parameterization.X0(),
    parameterization.Velocity(),
    parameterization.EDM(),
)


def table() -> tuple[list[tuple[dict, int]], np.ndarray, np.ndarray]:
    """Configurations, float32 and float64 results, each `[N, 4]`."""
    with np.load(HERE / "table.npz") as stored:
        configs = json.loads(stored["cases"].tobytes())
        return [tuple(c) for c in configs], stored["single"], stored["double"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnyDenoiser:
    """The test network under a traced parameterization and a traced limit on x0."""

    kind: jax.Array
    limit: jax.Array  # 0 none, 1 clip, 2 threshold
    keep_eps: bool = False

    def __call__(self, x, point):
        guesses = []
        for reading in PARAMETERIZATIONS:
            network = diffax.Network(
                lambda _, shown, t, __: cases.network(
                    shown, t.reshape((-1,) + (1,) * (x.ndim - 1)), jnp
                ),
                0.0,
                None,
                reading,
            )
            guesses.append(network(x, point))
        guess = jax.tree.map(lambda *options: jnp.stack(options)[self.kind], *guesses)
        fixed = lambda *_: guess  # noqa: E731
        clipped = Clip(fixed, 1.0, self.keep_eps)(x, point)
        shrunk = DynamicThreshold(fixed, 0.995, 1.5, self.keep_eps)(x, point)
        return jax.tree.map(lambda *options: jnp.stack(options)[self.limit], guess, clipped, shrunk)


def limit_of(setup: Setup) -> tuple[int, bool]:
    """Which limit a setup puts on x0, and whether it keeps eps."""
    wrapped = setup.limits(lambda *_: None)
    if isinstance(wrapped, Clip):
        return 1, wrapped.keep_eps
    if isinstance(wrapped, DynamicThreshold):
        return 2, wrapped.keep_eps
    return 0, False


def run_all(configs: list[tuple[dict, int]]) -> np.ndarray:
    """diffax's results, `[N, 4]`, one compilation for all that differ in numbers only."""
    groups = defaultdict(list)
    for number, (config, steps) in enumerate(configs):
        setup = diffax.from_diffusers(config, steps)
        limit, keep = limit_of(setup)
        kind = PARAMETERIZATIONS.index(
            next(p for p in PARAMETERIZATIONS if type(p) is type(setup.parameterization))
        )
        shape = str(jax.tree.structure((setup.solver, setup.grid))), len(setup.grid.t)
        groups[shape, keep].append((number, setup, limit, kind))

    start = jnp.asarray(np.moveaxis(cases.START, 1, -1), jnp.asarray(0.0).dtype)
    noise = jnp.asarray(np.moveaxis(cases.NOISE, 2, -1), start.dtype)

    def one(solver, grid, kind, limit, scale, keep):
        tape = diffax.NoiseTape(jnp.moveaxis(noise[: grid.t.shape[0]], 0, 1))
        return diffax.sample(AnyDenoiser(kind, limit, keep), solver, grid, scale * start, tape)

    results = np.zeros((len(configs), cases.START.size))
    for (_, keep), members in groups.items():
        stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
        solvers = stack([jax.tree.map(jnp.asarray, setup.solver) for _, setup, _, _ in members])
        grids = stack([setup.grid for _, setup, _, _ in members])
        scales = jnp.stack([setup.start_scale for _, setup, _, _ in members])
        kinds = jnp.array([kind for *_, kind in members])
        limits = jnp.array([limit for _, _, limit, _ in members])
        batched = jax.jit(jax.vmap(one, (0, 0, 0, 0, 0, None)), static_argnums=5)
        out = batched(solvers, grids, kinds, limits, scales, keep)
        results[[number for number, *_ in members]] = np.asarray(out).reshape(len(members), -1)
    return results


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Largest difference of each run relative to its largest value, `[N]`."""
    return np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)
