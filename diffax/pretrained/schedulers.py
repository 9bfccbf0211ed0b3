"""The same numbers as diffusers: its scheduler configurations as schedule, grid and solver.

diffax places points and takes previous times its own way (see `docs/samplers.md`). Published models
come with a `scheduler_config.json`; `from_diffusers` reads one and gives what makes our loop repeat
that scheduler's numbers, its quirks included. Nothing else in diffax depends on this module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import guidance, parameterization, schedules
from diffax.denoiser import Denoiser
from diffax.parameterization import Parameterization
from diffax.pretrained import scheduler_grids
from diffax.pretrained.stride import by_stride
from diffax.schedules import EDM, Discrete, Point, RectifiedFlow, Schedule
from diffax.solvers.consistency import LCM, TCD
from diffax.solvers.ddim import DDIM, EulerAncestral
from diffax.solvers.ddpm import DDPM
from diffax.solvers.deis import DEIS
from diffax.solvers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.solvers.edm import Euler, Heun
from diffax.solvers.inversion import DDIMInversion
from diffax.solvers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.solvers.lms import LMS
from diffax.solvers.pndm import PLMS, PNDM
from diffax.solvers.singlestep import DPMSolverSinglestep
from diffax.solvers.solver import Solver
from diffax.solvers.unipc import UniPC


@dataclass(frozen=True)
class Setup:
    """What repeats a diffusers scheduler.

    Attributes:
        schedule: its noise schedule.
        parameterization: what its network is asked for.
        solver: its step.
        grid: its points, `[S + 1]`.
        start_scale: scale of the standard normal noise it starts from, in x_t's own units.
        limits: clips or thresholds x0 as its configuration says: Denoiser -> Denoiser.
    """

    schedule: Schedule
    parameterization: Parameterization
    solver: Solver
    grid: Point
    start_scale: Array
    limits: Callable[[Denoiser], Denoiser]


def from_diffusers(config: Mapping[str, Any], steps: int, **overrides: Any) -> Setup:
    """Schedule, solver and grid of a diffusers scheduler configuration.

    Args:
        config: the contents of `scheduler_config.json`; `_class_name` names the scheduler.
        steps: number of inference steps S.
        overrides: configuration fields to change, such as `_class_name="EulerDiscreteScheduler"` or
            `use_karras_sigmas=True`; and `eta`, for the schedulers whose step takes it.

    Returns:
        A `Setup`. The state to start from is `start_scale * noise`.

    Raises:
        ValueError: a scheduler or option without a counterpart here.

    Example:
        >>> setup = from_diffusers({"_class_name": "DDIMScheduler"}, steps=10)
        >>> [int(t) for t in setup.grid.t]
        [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1]
    """
    config = dict(config) | overrides
    name = config.get("_class_name", "")
    if name not in _SCHEDULERS:
        raise ValueError(
            f"no counterpart of the diffusers scheduler {name!r}; there are: "
            f"{', '.join(sorted(_SCHEDULERS))}"
        )
    defaults, make = _SCHEDULERS[name]
    refused = [option for option in _REFUSED if config.get(option)]
    if refused:
        raise ValueError(f"option {refused[0]} of {name} has no counterpart here; leave it out")
    options = dict(_COMMON) | defaults | config
    schedule = _schedule(name, options)
    grid, solver, start_scale = make(schedule, steps, options)
    return Setup(
        schedule,
        _parameterization(options),
        solver,
        grid,
        jnp.asarray(start_scale, grid.alpha.dtype),
        _limits(options),
    )


def _parameterization(options: Mapping[str, Any]) -> Parameterization:
    kind = options["prediction_type"]
    if "sigma_data" in options:
        if kind not in ("edm", "epsilon"):
            raise ValueError(f"prediction_type {kind!r} of EDM schedulers has no counterpart here")
        return parameterization.EDM(options["sigma_data"])
    known = {
        "epsilon": parameterization.Eps,
        "sample": parameterization.X0,
        "v_prediction": parameterization.V,
        "flow_prediction": parameterization.Velocity,
    }
    if kind not in known:
        raise ValueError(f"prediction_type {kind!r} has no counterpart; use one of {list(known)}")
    return known[kind]()


_COMMON: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "timestep_spacing": "linspace",
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "final_sigmas_type": "zero",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "set_alpha_to_one": True,
    "eta": None,
}


def _schedule(name: str, options: Mapping[str, Any]) -> Schedule:
    if name.startswith("EDM"):
        return schedules.EDM(options["sigma_min"], options["sigma_max"])
    if name.startswith("FlowMatch"):
        return schedules.RectifiedFlow()
    total = options["num_train_timesteps"]
    limits = options["beta_start"], options["beta_end"]
    kind = options["beta_schedule"]
    if options["trained_betas"] is not None:
        schedule = schedules.from_betas(options["trained_betas"])
    elif kind == "linear":
        schedule = schedules.linear(total, *limits)
    elif kind == "scaled_linear":
        schedule = schedules.scaled_linear(total, *limits)
    elif kind == "squaredcos_cap_v2":
        schedule = schedules.cosine(total)
    else:
        raise ValueError(f"beta_schedule {kind!r} has no counterpart here")
    if options["rescale_betas_zero_snr"]:
        schedule = schedules.zero_terminal_snr(schedule)
    return schedule


def _limits(options: Mapping[str, Any]) -> Callable[[Denoiser], Denoiser]:
    """Dynamic thresholding overrides clipping; DDIM keeps the network's own eps beside it."""
    keep = options.get("keep_eps", False)
    if options["thresholding"]:
        quantile, top = options["dynamic_thresholding_ratio"], options["sample_max_value"]
        return lambda denoiser: guidance.DynamicThreshold(denoiser, quantile, top, keep)
    if options["clip_sample"]:
        return lambda denoiser: guidance.Clip(denoiser, options["clip_sample_range"], keep)
    return lambda denoiser: denoiser


# ---------------------------------------------------------------- one scheduler after the other

Made = tuple[Point, Solver, Any]


def _ddpm(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.table(schedule, steps, options, "zero")
    variance = options["variance_type"].removesuffix("_log")
    return grid, DDPM(variance), 1.0


def _ddim(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    final = "zero" if options["set_alpha_to_one"] else "sigma_min"
    grid = scheduler_grids.table(schedule, steps, options, final)
    solver = DDIM(0.0 if options["eta"] is None else options["eta"])
    return grid, by_stride(solver, schedule, steps, grid), 1.0


def _pndm(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    final = "zero" if options["set_alpha_to_one"] else "sigma_min"
    grid = scheduler_grids.table(schedule, steps, options, final)
    stride = schedule.num_steps // steps
    times = np.asarray(grid.t[:-1])
    if not np.all(np.diff(times) == -stride):
        raise ValueError(
            "PNDMScheduler steps by T // S whatever its times are, which do not agree with "
            f"{options['timestep_spacing']} spacing at {steps} of {schedule.num_steps}: its "
            "numbers there are wrong and not repeated; use leading"
        )
    mixes = "v" if options["prediction_type"] == "v_prediction" else "eps"
    if options["skip_prk_steps"]:
        return grid, PLMS(mixes), 1.0
    return grid, PNDM(schedule, mixes, float(stride // 2)), 1.0


def _euler(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options)
    return grid, Euler(), scheduler_grids.start_scale(grid, options)


def _euler_ancestral(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options)
    return grid, EulerAncestral(), scheduler_grids.start_scale(grid, options)


def _heun(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options)
    return grid, Heun(), scheduler_grids.start_scale(grid, options)


def _kdpm2(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options, round_karras=True)
    return grid, KDPM2(schedule), scheduler_grids.start_scale(grid, options)


def _kdpm2_ancestral(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options, round_karras=True)
    return grid, KDPM2Ancestral(schedule), scheduler_grids.start_scale(grid, options)


def _lms(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.fractional(schedule, steps, options)
    return grid, LMS(), scheduler_grids.start_scale(grid, options)


def _dpm(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    cosine = options["beta_schedule"] == "squaredcos_cap_v2"
    grid = scheduler_grids.multistep(schedule, steps, options, round_karras=not cosine)
    return grid, _dpm_solver(options), 1.0


def _dpm_solver(options: Mapping[str, Any]) -> Solver:
    classes = {
        "dpmsolver++": DPMSolverPP,
        "dpmsolver": DPMSolver,
        "sde-dpmsolver++": SDEDPMSolverPP,
        "sde-dpmsolver": SDEDPMSolver,
    }
    return classes[options["algorithm_type"]](
        order=options["solver_order"],
        kind=options["solver_type"],
        lower_order_final=options["lower_order_final"],
        euler_at_final=options["euler_at_final"],
        compat="diffusers",
    )


def _deis(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    karras = any(options[f"use_{name}_sigmas"] for name in ("karras", "exponential", "beta"))
    # DEIS ends where the table does, or, with spaced sigmas, where it already was.
    final = "repeat" if karras else "sigma_min"
    grid = scheduler_grids.multistep(
        schedule, steps, dict(options, final_sigmas_type=final), round_karras=True
    )
    return grid, DEIS(options["solver_order"], options["lower_order_final"]), 1.0


def _unipc(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.multistep(schedule, steps, options, round_karras=True)
    skipped = list(options["disable_corrector"])
    if skipped != list(range(len(skipped))):
        raise ValueError(f"disable_corrector should name the first steps, got {skipped}")
    solver = UniPC(
        order=options["solver_order"],
        kind=options["solver_type"],
        predict_x0=options["predict_x0"],
        lower_order_final=options["lower_order_final"],
        correct_from=len(skipped),
    )
    return grid, solver, 1.0


def _singlestep(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.multistep(schedule, steps, options, round_karras=True)
    algorithm = options["algorithm_type"]
    # It sets lower_order_final itself where the order does not divide the steps or the end is zero.
    uneven = steps % options["solver_order"] != 0 or options["final_sigmas_type"] == "zero"
    solver = DPMSolverSinglestep(
        order=options["solver_order"],
        kind=options["solver_type"],
        prediction="eps" if algorithm == "dpmsolver" else "x0",
        stochastic=algorithm == "sde-dpmsolver++",
        lower_order_final=options["lower_order_final"] or uneven,
        compat="diffusers",
    )
    return grid, solver, 1.0


def _lcm(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.distilled(schedule, steps, options["original_inference_steps"], "zero")
    return grid, LCM(time_scaling=options["timestep_scaling"]), 1.0


def _tcd(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.distilled(schedule, steps, options["original_inference_steps"], "table")
    return grid, TCD(schedule, 0.3 if options["eta"] is None else options["eta"]), 1.0


def _ddim_inverse(schedule: Discrete, steps: int, options: Mapping[str, Any]) -> Made:
    final = "zero" if options["set_alpha_to_one"] else "sigma_min"
    grid = scheduler_grids.table(schedule, steps, options, final)
    return grid[::-1], DDIMInversion(), 1.0


def _flow_euler(schedule: RectifiedFlow, steps: int, options: Mapping[str, Any]) -> Made:
    return scheduler_grids.flow(steps, options), Euler(), 1.0


def _flow_heun(schedule: RectifiedFlow, steps: int, options: Mapping[str, Any]) -> Made:
    return scheduler_grids.flow(steps, options), Heun(space="straight"), 1.0


def _edm_euler(schedule: EDM, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.edm(schedule, steps, options)
    return grid, Euler(), np.sqrt(options["sigma_max"] ** 2 + 1)


def _edm_dpm(schedule: EDM, steps: int, options: Mapping[str, Any]) -> Made:
    grid = scheduler_grids.edm(schedule, steps, options)
    return grid, _dpm_solver(options), np.sqrt(options["sigma_max"] ** 2 + 1)


_SD = {"beta_start": 0.00085, "beta_end": 0.012}
_MULTISTEP = {"solver_order": 2, "lower_order_final": True, "solver_type": "midpoint"}
_DPM = _MULTISTEP | {"algorithm_type": "dpmsolver++", "euler_at_final": False}
_DISTILLED = _SD | {
    "beta_schedule": "scaled_linear",
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
}
_FLOW = {"prediction_type": "flow_prediction", "shift": 1.0, "use_dynamic_shifting": False}
_EDM = {
    "prediction_type": "edm",
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "sigma_schedule": "karras",
    "rho": 7.0,
}

_SCHEDULERS: dict[str, tuple[dict[str, Any], Callable[..., Made]]] = {
    "DDPMScheduler": (
        {"clip_sample": True, "variance_type": "fixed_small", "timestep_spacing": "leading"},
        _ddpm,
    ),
    "DDIMScheduler": (
        {"clip_sample": True, "timestep_spacing": "leading", "keep_eps": True},
        _ddim,
    ),
    "PNDMScheduler": (
        {"set_alpha_to_one": False, "timestep_spacing": "leading", "skip_prk_steps": False},
        _pndm,
    ),
    "EulerDiscreteScheduler": ({}, _euler),
    "EulerAncestralDiscreteScheduler": ({}, _euler_ancestral),
    "HeunDiscreteScheduler": (_SD, _heun),
    "KDPM2DiscreteScheduler": (_SD, _kdpm2),
    "KDPM2AncestralDiscreteScheduler": (_SD, _kdpm2_ancestral),
    "LMSDiscreteScheduler": ({}, _lms),
    "DPMSolverMultistepScheduler": (
        _DPM,
        _dpm,
    ),
    "DEISMultistepScheduler": (_MULTISTEP, _deis),
    "UniPCMultistepScheduler": (
        _MULTISTEP | {"solver_type": "bh2", "predict_x0": True, "disable_corrector": ()},
        _unipc,
    ),
    "DPMSolverSinglestepScheduler": (_DPM | {"lower_order_final": False}, _singlestep),
    "LCMScheduler": (_DISTILLED, _lcm),
    "TCDScheduler": (_DISTILLED, _tcd),
    "DDIMInverseScheduler": (
        {"clip_sample": True, "timestep_spacing": "leading", "keep_eps": True},
        _ddim_inverse,
    ),
    "FlowMatchEulerDiscreteScheduler": (_FLOW, _flow_euler),
    "FlowMatchHeunDiscreteScheduler": (_FLOW, _flow_heun),
    "EDMEulerScheduler": (_EDM, _edm_euler),
    "EDMDPMSolverMultistepScheduler": (_EDM | _DPM, _edm_dpm),
}

# Options that change numbers and have no counterpart; refused where set.
_REFUSED = (
    "use_flow_sigmas",
    "use_lu_lambdas",
    "use_dynamic_shifting",
    "invert_sigmas",
    "shift_terminal",
    "stochastic_sampling",
    "solver_p",
)
