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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from diffax import (  # noqa: F401
        adapters,
        codecs,
        conditioning,
        data,
        evaluation,
        generation,
        models,
        objectives,
        plotting,
        pretrained,
        training,
    )
    from diffax.generation import Model, generate
    from diffax.pretrained import load_pipeline
    from diffax.training import load_run

# What brings Flax, files or images with it is imported when it is first asked for.
_ROOMS = (
    "adapters",
    "codecs",
    "conditioning",
    "data",
    "evaluation",
    "generation",
    "models",
    "objectives",
    "plotting",
    "pretrained",
    "training",
)
_NAMES = {
    "Model": "generation",
    "generate": "generation",
    "load_pipeline": "pretrained",
    "load_run": "training",
}

__all__ = [
    "Denoiser",
    "Model",
    "Network",
    "Point",
    "Prediction",
    "Schedule",
    "Solver",
    "__version__",
    "gaussian",
    "generate",
    "guidance",
    "initial_noise",
    "load_pipeline",
    "load_run",
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
    if name in _NAMES:
        return getattr(importlib.import_module(f"diffax.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'diffax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS]
