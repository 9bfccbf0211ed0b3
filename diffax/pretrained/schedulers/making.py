"""Grid, solver and starting scale of one scheduler class after the other."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from diffax.pretrained.schedulers import flow_grids, grids
from diffax.pretrained.schedulers.stride import StrideInversion, by_stride
from diffax.schedules import EDM, Discrete, Point, RectifiedFlow, Schedule
from diffax.solvers.consistency import LCM, TCD
from diffax.solvers.ddim import DDIM, EulerAncestral
from diffax.solvers.ddpm import DDPM
from diffax.solvers.deis import DEIS
from diffax.solvers.dpm_solver import DPMSolver, DPMSolverPP, SDEDPMSolver, SDEDPMSolverPP
from diffax.solvers.edm import Euler, Heun
from diffax.solvers.kdpm2 import KDPM2, KDPM2Ancestral
from diffax.solvers.lms import LMS
from diffax.solvers.pndm import PLMS, PNDM
from diffax.solvers.singlestep import DPMSolverSinglestep
from diffax.solvers.solver import Solver
from diffax.solvers.unipc import UniPC

Options = Mapping[str, Any]
Made = tuple[Point, Solver, Any]


def _ddpm(schedule: Discrete, steps: int, options: Options) -> Made:
    grid = grids.table(schedule, steps, options, "zero")
    return grid, DDPM(options["variance_type"].removesuffix("_log")), 1.0


def _end(options: Options) -> str:
    return "zero" if options["set_alpha_to_one"] else "sigma_min"


def _ddim(schedule: Discrete, steps: int, options: Options) -> Made:
    grid = grids.table(schedule, steps, options, _end(options))
    return grid, by_stride(DDIM(_eta(options, 0.0)), schedule, steps, grid), 1.0


def _ddim_inverse(schedule: Discrete, steps: int, options: Options) -> Made:
    if options["timestep_spacing"] == "linspace":
        raise ValueError(
            "timestep_spacing of DDIMInverseScheduler: expected one of leading, trailing, "
            "got 'linspace'"
        )
    grid = grids.table(schedule, steps, options, _end(options))
    stride = float(schedule.num_steps // steps)
    return grid[::-1], StrideInversion(schedule, stride, grid[-1]), 1.0


def _pndm(schedule: Discrete, steps: int, options: Options) -> Made:
    grid = grids.table(schedule, steps, options, _end(options))
    if options["prediction_type"] not in ("epsilon", "v_prediction"):
        raise ValueError(
            "prediction_type of PNDMScheduler: expected epsilon or v_prediction, got "
            f"{options['prediction_type']!r}"
        )
    stride = schedule.num_steps // steps
    times = np.asarray(grid.t[:-1])
    if not np.all(np.diff(times) == -stride) or times[-1] >= stride:
        raise ValueError(
            "PNDMScheduler steps by T // S whatever its times are, which do not agree with "
            f"{options['timestep_spacing']} spacing and steps_offset {options['steps_offset']} at "
            f"{steps} of {schedule.num_steps}: its numbers there are wrong and not repeated; use "
            "leading"
        )
    mixes = "v" if options["prediction_type"] == "v_prediction" else "eps"
    if steps == 1 and options["skip_prk_steps"]:
        # The first step is done again only where a second follows.
        return grid, DDIM(), 1.0
    if options["skip_prk_steps"]:
        return grid, PLMS(mixes), 1.0
    return grid, PNDM(schedule, mixes, float(stride // 2)), 1.0


def _fractional(
    solver: Callable[[Schedule, Options], Solver], round_karras: bool = False
) -> Callable[[Discrete, int, Options], Made]:
    def make(schedule: Discrete, steps: int, options: Options) -> Made:
        grid = grids.fractional(schedule, steps, options, round_karras=round_karras)
        return grid, solver(schedule, options), grids.start_scale(grid, options)

    return make


def _multistep(
    schedule: Discrete | RectifiedFlow, steps: int, options: Options, **choices: bool
) -> Point:
    if isinstance(schedule, RectifiedFlow):
        return flow_grids.multistep_flow(steps, options, repeats=choices.get("repeats", False))
    return grids.multistep(schedule, steps, options, **choices)


def _dpm(schedule: Discrete | RectifiedFlow, steps: int, options: Options) -> Made:
    cosine = options["beta_schedule"] == "squaredcos_cap_v2"
    return _multistep(schedule, steps, options, round_karras=not cosine), _dpm_solver(options), 1.0


def _dpm_solver(options: Options) -> Solver:
    algorithm = options["algorithm_type"]
    own = {} if options["eta"] is None else {"eta": options["eta"]}
    if own and algorithm != "sde-dpmsolver++":
        raise ValueError(f"option eta changes nothing in algorithm_type {algorithm}; leave it out")
    classes = {
        "dpmsolver++": DPMSolverPP,
        "dpmsolver": DPMSolver,
        "sde-dpmsolver++": SDEDPMSolverPP,
        "sde-dpmsolver": SDEDPMSolver,
    }
    return classes[algorithm](
        order=options["solver_order"],
        kind=options["solver_type"],
        lower_order_final=options["lower_order_final"],
        euler_at_final=options["euler_at_final"],
        compat="diffusers",
        **own,
    )


def _deis(schedule: Discrete | RectifiedFlow, steps: int, options: Options) -> Made:
    # DEIS ends where the table does, or, with spaced sigmas, where it already was.
    options = {**options, "final_sigmas_type": "sigma_min"}
    grid = _multistep(schedule, steps, options, repeats=True)
    return grid, DEIS(options["solver_order"], options["lower_order_final"]), 1.0


def _unipc(schedule: Discrete | RectifiedFlow, steps: int, options: Options) -> Made:
    if isinstance(schedule, RectifiedFlow):
        grid = flow_grids.unipc_flow(steps, options)
    else:
        grid = grids.multistep(schedule, steps, options, repeats=True)
    skipped = sorted(set(options["disable_corrector"]))
    if skipped != list(range(len(skipped))):
        raise ValueError(
            f"disable_corrector of UniPCMultistepScheduler: expected the first steps, such as "
            f"[0, 1], got {options['disable_corrector']}"
        )
    solver = UniPC(
        order=options["solver_order"],
        kind=options["solver_type"],
        predict_x0=options["predict_x0"],
        lower_order_final=options["lower_order_final"],
        correct_from=len(skipped),
    )
    return grid, solver, 1.0


def _singlestep(schedule: Discrete | RectifiedFlow, steps: int, options: Options) -> Made:
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
    return _multistep(schedule, steps, options), solver, 1.0


def _lcm(schedule: Discrete, steps: int, options: Options) -> Made:
    grid = grids.distilled(schedule, steps, options["original_inference_steps"], "zero")
    return grid, LCM(time_scaling=options["timestep_scaling"]), 1.0


def _tcd(schedule: Discrete, steps: int, options: Options) -> Made:
    grid = grids.distilled(schedule, steps, options["original_inference_steps"], "table")
    return grid, TCD(schedule, _eta(options, 0.3)), 1.0


def _flow_euler(schedule: RectifiedFlow, steps: int, options: Options) -> Made:
    # Without its boundary scalings LCM's step is: x0, then fresh noise of the next level.
    solver = LCM(sigma_data=0.0) if options["stochastic_sampling"] else Euler()
    return flow_grids.flow(steps, options), solver, 1.0


def _flow_heun(schedule: RectifiedFlow, steps: int, options: Options) -> Made:
    return flow_grids.flow(steps, options), Heun(space="straight"), 1.0


def _edm_euler(schedule: EDM, steps: int, options: Options) -> Made:
    grid = grids.edm(schedule, steps, options)
    return grid, Euler(), np.sqrt(options["sigma_max"] ** 2 + 1)


def _edm_dpm(schedule: EDM, steps: int, options: Options) -> Made:
    grid = grids.edm(schedule, steps, options)
    return grid, _dpm_solver(options), np.sqrt(options["sigma_max"] ** 2 + 1)


def _eta(options: Options, default: float) -> Any:
    return default if options["eta"] is None else options["eta"]


MAKERS: dict[str, Callable[[Any, int, Options], Made]] = {
    "DDPMScheduler": _ddpm,
    "DDIMScheduler": _ddim,
    "DDIMInverseScheduler": _ddim_inverse,
    "PNDMScheduler": _pndm,
    "EulerDiscreteScheduler": _fractional(lambda _, options: Euler()),
    "EulerAncestralDiscreteScheduler": _fractional(
        lambda _, options: EulerAncestral(_eta(options, 1.0))
    ),
    "HeunDiscreteScheduler": _fractional(lambda _, options: Heun()),
    "KDPM2DiscreteScheduler": _fractional(
        lambda schedule, options: KDPM2(schedule), round_karras=True
    ),
    "KDPM2AncestralDiscreteScheduler": _fractional(
        lambda schedule, options: KDPM2Ancestral(schedule, _eta(options, 1.0)), round_karras=True
    ),
    "LMSDiscreteScheduler": _fractional(lambda _, options: LMS()),
    "DPMSolverMultistepScheduler": _dpm,
    "DPMSolverSinglestepScheduler": _singlestep,
    "DEISMultistepScheduler": _deis,
    "UniPCMultistepScheduler": _unipc,
    "LCMScheduler": _lcm,
    "TCDScheduler": _tcd,
    "FlowMatchEulerDiscreteScheduler": _flow_euler,
    "FlowMatchHeunDiscreteScheduler": _flow_heun,
    "EDMEulerScheduler": _edm_euler,
    "EDMDPMSolverMultistepScheduler": _edm_dpm,
}
