"""diffax: diffusion models in JAX, as functions you can `jit`, `vmap`, `grad` and shard."""

import importlib
from typing import TYPE_CHECKING, Any

from diffax import (
    gaussian,
    guidance,
    losses,
    mixture,
    parameterization,
    sampling,
    schedules,
    solvers,
)
from diffax.denoiser import Denoiser, Network
from diffax.parameterization import Prediction
from diffax.sampling import sample, time_grid
from diffax.schedules import Point, Schedule
from diffax.solvers import Solver, initial_noise, sample_keys

if TYPE_CHECKING:
    from diffax import (  # noqa: F401
        data,
        evaluation,
        models,
        plotting,
        pretrained,
        training,
    )

# Rooms that bring Flax, files or pictures with them: imported when they are first asked for.
_ROOMS = ("data", "evaluation", "models", "plotting", "pretrained", "training")

__all__ = [
    "Denoiser",
    "Network",
    "Point",
    "Prediction",
    "Schedule",
    "Solver",
    "gaussian",
    "guidance",
    "initial_noise",
    "losses",
    "mixture",
    "parameterization",
    "sample",
    "sample_keys",
    "sampling",
    "schedules",
    "solvers",
    "time_grid",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"diffax.{name}")
    raise AttributeError(f"module 'diffax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]
