"""Global error of a solver against the number of steps, on data with a closed-form answer."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

import diffax
from diffax.solvers import registry

COUNTS = (12, 24, 48, 96, 192)
SCHEDULE = diffax.schedules.VP()
START, END = 6.0, 0.1  # sigma / alpha at both ends
MIXTURE = diffax.mixture.GaussianMixture(
    np.array([[-1.0], [0.5]]), np.array([0.4, 0.7]), np.array([0.4, 0.6])
)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

# Where a run starts with lower orders or ends with them, the order would not show.
OPTIONS = {
    "dpmpp_2m": {"lower_order_final": False},
    "dpmpp_3m": {"lower_order_final": False},
    "dpm_2m": {"lower_order_final": False},
    "dpm_3m": {"lower_order_final": False},
    "dpmpp_2s": {"lower_order_final": False},
    "dpmpp_3s": {"lower_order_final": False},
    "dpm_2s": {"lower_order_final": False},
    "dpm_3s": {"lower_order_final": False},
    "deis": {"lower_order_final": False},
    "unipc": {"lower_order_final": False},
}


# Multistep solvers begin with order 1: their first two steps are made h^2 and h^1.5 long, or that
# one step's error would be all there is to see.
GRADED = ("dpmpp_2m", "dpmpp_3m", "dpm_2m", "dpm_3m", "deis", "unipc", "lms")


def grid(steps: int, graded: bool) -> diffax.Point:
    """Even in log-SNR from START to END."""
    total = np.log(START / END)
    lengths = np.full(steps, total / steps)
    if graded:
        h = brentq(lambda h: (steps - 2) * h + h**2 + h**1.5 - total, 0, total)
        lengths = np.array([h**2, h**1.5, *[h] * (steps - 2)])
    depth = np.concatenate([[0.0], np.cumsum(lengths)])
    return SCHEDULE.at_logsnr(-2 * (np.log(START) - depth))


def padded_grid(steps: int, length: int, graded: bool) -> diffax.Point:
    """The grid with its last point repeated: empty steps, so that one program serves all counts."""
    points = grid(steps, graded)
    return jax.tree.map(lambda f: jnp.concatenate([f, jnp.repeat(f[-1:], length - steps)]), points)


def starts() -> jax.Array:
    """States at the start, `[B, 1]`."""
    first = SCHEDULE.at_logsnr(-2 * np.log(START))
    return jnp.linspace(-2.0, 2.0, 9)[:, None] * first.sigma


def answers() -> np.ndarray:
    """Where the ODE brings them: the path keeps the distribution function constant."""
    first, last = (SCHEDULE.at_logsnr(-2 * np.log(k)) for k in (START, END))
    wanted = np.asarray(MIXTURE.cdf(starts()[:, 0], first))
    mean = lambda x: float(MIXTURE.cdf(jnp.array([x]), last)[0])
    return np.array([brentq(lambda x, w=w: mean(x) - w, -20, 20, xtol=1e-14) for w in wanted])


def stated(name: str, options: dict) -> int:
    """The order that a solver with these options says it has."""
    entry = registry.lookup(name)
    return entry.description.told("order", entry.make(**entry.fixed, **options))


def errors(name: str, exact: np.ndarray, counts=COUNTS, **options) -> np.ndarray:
    """Root mean square error of every count of steps."""
    solver = registry.build(name, SCHEDULE, **OPTIONS.get(name, {}) | options)
    x = starts()
    keys = diffax.sample_keys(0, x.shape[0])

    def run(points):
        return diffax.sample(MIXTURE, solver, points, x, keys)

    if name == "unipc":
        # The empty steps would correct the last point, which a run of its own leaves as predicted.
        runs = [jax.jit(run, compiler_options=QUICK)(grid(steps, True)) for steps in counts]
        return np.sqrt(np.mean((np.stack(runs)[..., 0] - exact) ** 2, axis=1))
    grids = [padded_grid(steps, max(counts), name in GRADED) for steps in counts]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *grids)
    found = np.asarray(jax.jit(jax.vmap(run), compiler_options=QUICK)(stacked))[..., 0]
    return np.sqrt(np.mean((found - exact) ** 2, axis=1))


def slope(counts, error: np.ndarray) -> float:
    """Order of convergence over the last three counts."""
    return -np.polyfit(np.log(counts[-3:]), np.log(error[-3:]), 1)[0]
