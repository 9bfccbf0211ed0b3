"""Random scheduler configurations over every option, some read by another class than their own."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text())
STEPS = (3, 7, 10, 16)
SHARE_OF_SWAPS = 0.35


@dataclass(frozen=True)
class Case:
    """A configuration file, the class that is asked to read it, and a run's settings."""

    file: dict[str, Any]
    asked: str
    steps: int
    eta: float | None = None

    def __str__(self):
        return f"{self.asked}({self.steps} steps, eta {self.eta}) of {self.file}"


# What each option is drawn from. Options not here have no number that could change.
VALUES: dict[str, tuple] = {
    "num_train_timesteps": (1000, 500, 100),
    "beta_start": (0.0001, 0.00085, 0.002),
    "beta_end": (0.012, 0.02, 0.03),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": ("table", "table", "table to pure noise"),
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "thresholding": (True,),
    "dynamic_thresholding_ratio": (0.9, 0.5),
    "sample_max_value": (1.5, 0.8, 3.0),
    "clip_sample": (True, False),
    "clip_sample_range": (0.5, 2.0),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "steps_offset": (0, 1, 3),
    "rescale_betas_zero_snr": (True,),
    "use_karras_sigmas": (True,),
    "use_exponential_sigmas": (True,),
    "use_beta_sigmas": (True,),
    "use_lu_lambdas": (True,),
    "final_sigmas_type": ("zero", "sigma_min"),
    "sigma_min": (0.002, 0.05, 0.5),
    "sigma_max": (10.0, 80.0, 700.0),
    "interpolation_type": ("log_linear",),
    "timestep_type": ("continuous",),
    "solver_order": (1, 2, 3),
    "solver_type": ("midpoint", "heun", "logrho", "bh1", "bh2"),
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver", "deis"),
    "lower_order_final": (True, False),
    "euler_at_final": (True,),
    "lambda_min_clipped": (-5.1, -1.5),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
    "use_flow_sigmas": (True,),
    "flow_shift": (1.0, 3.0),
    "use_dynamic_shifting": (True,),
    "time_shift_type": ("linear",),
    "shift_terminal": (0.1,),
    "disable_corrector": ([0], [0, 1], [2]),
    "predict_x0": (False,),
    "original_inference_steps": (50, 25, 100),
    "timestep_scaling": (10.0, 5.0),
    "set_alpha_to_one": (True, False),
    "skip_prk_steps": (True, False),
    "shift": (1.0, 3.0),
    "base_shift": (0.3,),
    "max_shift": (2.0,),
    "base_image_seq_len": (64,),
    "max_image_seq_len": (1024,),
    "invert_sigmas": (True,),
    "stochastic_sampling": (True,),
    "sigma_data": (1.0,),
    "sigma_schedule": ("karras", "exponential"),
    "rho": (7.0, 5.0),
}
# A class's own values, where they are others than those above.
OWN: dict[tuple[str, str], tuple] = {
    ("DDPMScheduler", "beta_schedule"): (*VALUES["beta_schedule"], "sigmoid", "laplace"),
    ("HeunDiscreteScheduler", "beta_schedule"): (*VALUES["beta_schedule"], "exp"),
    ("DPMSolverMultistepScheduler", "variance_type"): ("learned", "learned_range"),
    ("DPMSolverSinglestepScheduler", "variance_type"): ("learned", "learned_range"),
}
for _name in ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"):
    OWN[_name, "prediction_type"] = ("epsilon", "v_prediction")
    OWN[_name, "sigma_min"] = (0.002, 0.01)
    OWN[_name, "sigma_max"] = (80.0, 40.0)
ETAS = {"DDIMScheduler": (0.0, 0.5, 1.0), "TCDScheduler": (0.0, 0.3, 1.0)}
# Mostly refused: drawn seldom, so that the rest of a configuration is seen.
SELDOM = {"use_dynamic_shifting", "invert_sigmas", "trained_betas", "use_flow_sigmas"}
SPACED = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


def cases(count: int, seed: int = 0) -> list[Case]:
    """`count` random cases."""
    draw = random.Random(seed)
    return [_case(draw) for _ in range(count)]


def _case(draw: random.Random) -> Case:
    names = sorted(OPTIONS)
    own = draw.choice(names)
    file: dict[str, Any] = {"_class_name": own}
    for option in OPTIONS[own]:
        share = 0.05 if option in SELDOM else 0.35
        if option in VALUES and draw.random() < share:
            file[option] = draw.choice(OWN.get((own, option), VALUES[option]))
    for option in _all_but_one(draw, [name for name in SPACED if name in file]):
        del file[option]
    if file.get("use_flow_sigmas"):
        file["prediction_type"] = draw.choice(("flow_prediction", "epsilon", "sample"))
    if "shift_terminal" in file and "use_flow_sigmas" in OPTIONS[own]:
        file["use_flow_sigmas"] = True
    if "trained_betas" in file:
        file["trained_betas"] = _betas(100, to_noise="noise" in file["trained_betas"])
        file["num_train_timesteps"] = 100
    asked = own
    if draw.random() < SHARE_OF_SWAPS and "beta_start" in OPTIONS[own]:
        asked = draw.choice([name for name in names if "beta_start" in OPTIONS[name]])
    eta = draw.choice(ETAS[asked]) if asked in ETAS else None
    return Case(file, asked, draw.choice(STEPS), eta)


def _all_but_one(draw: random.Random, names: list[str]) -> list[str]:
    """Two spacings at once are refused by both sides: one in ten stays so."""
    if len(names) < 2 or draw.random() < 0.1:
        return []
    names.remove(draw.choice(names))
    return names


def _betas(count: int, to_noise: bool) -> list[float]:
    betas = [0.001 + 0.1 * (i / count) ** 2 for i in range(count)]
    return [*betas[:-1], 1.0] if to_noise else betas
