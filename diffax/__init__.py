"""diffax: diffusion models in JAX, as functions you can `jit`, `vmap`, `grad` and shard."""

from diffax import gaussian, guidance, losses, parameterization, schedules
from diffax.denoiser import Denoiser, Network
from diffax.parameterization import Prediction
from diffax.samplers import *  # noqa: F403
from diffax.samplers import __all__ as _samplers
from diffax.schedules import Point

__all__ = [
    "Denoiser",
    "Network",
    "Point",
    "Prediction",
    "gaussian",
    "guidance",
    "losses",
    "parameterization",
    "schedules",
    *_samplers,
]
