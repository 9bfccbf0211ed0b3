"""Which scheduler configurations the golden table holds, and the network they are run with."""

from itertools import product
from typing import Any

import numpy as np

STEPS = (5, 10, 50)
BETAS = {
    "linear": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
    "scaled": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
SPACED = [{"timestep_spacing": s} for s in ("linspace", "leading", "trailing")]
KARRAS = {"use_karras_sigmas": True}
ALL = ("epsilon", "v_prediction", "sample")
TWO = ("epsilon", "v_prediction")

# Four numbers: a batch of one image with one channel, 2 x 2.
START = np.array([0.9, -0.3, 0.05, -1.4]).reshape(1, 1, 2, 2)
# One draw of standard normal noise a step, for the stochastic schedulers.
NOISE = np.random.default_rng(7).standard_normal((64, *START.shape))


def network(x, t, lib):
    """A bounded, smooth, nonlinear stand-in for a network; `lib` is numpy, torch or jax.numpy."""
    return lib.tanh(x) * (0.5 + t / 2000) + 0.1 * lib.sin(2 * x + t / 500)


def _cross(name: str, variants, predictions, spacings, betas=tuple(BETAS), steps=STEPS):
    for options, kind, spacing, beta, count in product(
        variants, predictions, spacings, betas, steps
    ):
        config = {"_class_name": name, "prediction_type": kind, **BETAS[beta], **spacing, **options}
        yield config, count


def cases() -> list[tuple[dict[str, Any], int]]:
    """Every `(configuration, steps)` of the table."""
    both = [*SPACED, *({**s, **KARRAS} for s in SPACED)]
    # The multistep schedulers' spaced sigmas do not depend on the spacing of times.
    multi = [*SPACED, KARRAS]
    end = {"final_sigmas_type": "sigma_min"}
    other = [{"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]
    found = [
        *_cross(
            "DDPMScheduler",
            [
                {"variance_type": "fixed_small", "clip_sample": True},
                {"variance_type": "fixed_large", "clip_sample": False},
            ],
            ALL,
            SPACED,
        ),
        *_cross(
            "DDIMScheduler",
            [{"clip_sample": True}, {"clip_sample": False}, {"clip_sample": False, "eta": 0.5}],
            ALL,
            SPACED,
        ),
        *_cross(
            "DDIMScheduler",
            [{"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}],
            TWO,
            SPACED[1:2],
            ["scaled"],
        ),
        *_cross(
            "DDIMScheduler", [{"thresholding": True, "sample_max_value": 1.5}], ALL, SPACED[1:2]
        ),
        *_cross(
            "PNDMScheduler", [{}, {"skip_prk_steps": True, "steps_offset": 0}], TWO, SPACED[1:]
        ),
        *_cross("EulerDiscreteScheduler", [{}], ALL, both),
        *_cross("EulerDiscreteScheduler", other, TWO, SPACED[:1]),
        *_cross("EulerDiscreteScheduler", [end], TWO, SPACED[:1]),
        *_cross("EulerAncestralDiscreteScheduler", [{}], TWO, SPACED),
        *_cross("HeunDiscreteScheduler", [{}], ALL, both),
        *_cross("HeunDiscreteScheduler", [{"clip_sample": True}], ALL, SPACED[:1]),
        *_cross("KDPM2DiscreteScheduler", [{}], TWO, both),
        *_cross("KDPM2AncestralDiscreteScheduler", [{}], TWO, both),
        *_cross("LMSDiscreteScheduler", [{}], ALL, both),
        *_cross(
            "DPMSolverMultistepScheduler",
            [
                {"solver_order": 1},
                {"solver_order": 2},
                {"solver_order": 2, "solver_type": "heun"},
                {"solver_order": 3},
                {"solver_order": 2, "algorithm_type": "dpmsolver", **end},
                {"solver_order": 3, "algorithm_type": "dpmsolver", **end},
                {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
                {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
                {"solver_order": 2, "algorithm_type": "sde-dpmsolver", **end},
            ],
            ALL,
            multi,
        ),
        *_cross(
            "DPMSolverMultistepScheduler",
            [
                {"thresholding": True, "sample_max_value": 1.5},
                {"lambda_min_clipped": -5.1},
                {"lower_order_final": False, "euler_at_final": True},
                *other,
            ],
            TWO,
            SPACED[:1],
        ),
        *_cross(
            "DPMSolverSinglestepScheduler",
            [
                {"solver_order": 2},
                {"solver_order": 3},
                {"solver_order": 3, "solver_type": "heun"},
                {"solver_order": 2, "algorithm_type": "dpmsolver", **end},
                {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
            ],
            ALL,
            [{}, KARRAS],
        ),
        *_cross("DEISMultistepScheduler", [{"solver_order": 2}, {"solver_order": 3}], ALL, multi),
        *_cross(
            "UniPCMultistepScheduler",
            [
                {"solver_order": 2},
                {"solver_order": 3},
                {"solver_order": 2, "predict_x0": False, **end},
            ],
            ALL,
            multi,
        ),
        # bh1 divides by an infinite step into the clean end; with spaced sigmas the last step to
        # sigma_min has length zero and UniPC divides by it.
        *_cross("UniPCMultistepScheduler", [{"solver_type": "bh1", **end}], ALL, SPACED),
        *_cross("LCMScheduler", [{}, {"clip_sample": True}], ALL, [{}]),
        *_cross("TCDScheduler", [{}, {"eta": 0.0}], ALL, [{}]),
        *_cross("DDIMInverseScheduler", [{"clip_sample": False}], ALL, SPACED[1:]),
    ]
    # The last step of UniPC on eps to sigma_min with Karras sigmas has length zero, as with bh1.
    found = [
        (c, s)
        for c, s in found
        if not (
            c["_class_name"].startswith("UniPC")
            and c.get("use_karras_sigmas")
            and end.items() <= c.items()
        )
    ]
    for count, shift in product(STEPS, (1.0, 3.0)):
        for name in ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"):
            found.append(({"_class_name": name, "shift": shift}, count))
        found.append(
            ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": shift, **KARRAS}, count)
        )
    for count, kind in product(STEPS, ("karras", "exponential")):
        for options in ({"solver_order": 2}, {"solver_order": 3}):
            found.append(
                (
                    {
                        "_class_name": "EDMDPMSolverMultistepScheduler",
                        "sigma_schedule": kind,
                        **options,
                    },
                    count,
                )
            )
        found.append(({"_class_name": "EDMEulerScheduler", "sigma_schedule": kind}, count))
    return found + seldom_met()


def seldom_met() -> list[tuple[dict[str, Any], int]]:
    """Options beside the usual ones, a few runs of each."""
    flow = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    ends = {"sigma_min": 0.01, "sigma_max": 60.0}
    video = {
        **KARRAS,
        "sigma_min": 0.002,
        "sigma_max": 700.0,
        "timestep_type": "continuous",
        "prediction_type": "v_prediction",
        "timestep_spacing": "leading",
        "steps_offset": 1,
    }
    no_signal = {
        "rescale_betas_zero_snr": True,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    }
    hundred = {
        "trained_betas": [0.001 + 0.1 * (i / 100) ** 2 for i in range(100)],
        "num_train_timesteps": 100,
    }
    options = {
        "DDPMScheduler": [{"beta_schedule": "sigmoid"}, {"beta_schedule": "laplace"}],
        "DDIMScheduler": [{**no_signal, "clip_sample": False}, hundred],
        "DDIMInverseScheduler": [{}, {"timestep_spacing": "trailing", "clip_sample_range": 0.5}],
        "PNDMScheduler": [{}, {"steps_offset": 1, "skip_prk_steps": True}],
        "EulerDiscreteScheduler": [
            video,
            no_signal,
            {"interpolation_type": "log_linear"},
            {"interpolation_type": "log_linear", **KARRAS, **ends},
        ],
        "EulerAncestralDiscreteScheduler": [no_signal],
        "HeunDiscreteScheduler": [{"beta_schedule": "exp"}, {**KARRAS, **ends}],
        "KDPM2DiscreteScheduler": [{"use_exponential_sigmas": True, **ends}],
        "LMSDiscreteScheduler": [hundred, {"use_beta_sigmas": True, **ends}, {**KARRAS, **ends}],
        "DPMSolverMultistepScheduler": [
            flow,
            {**flow, "algorithm_type": "sde-dpmsolver++"},
            {"use_lu_lambdas": True},
            {**KARRAS, **ends},
            no_signal,
        ],
        "DPMSolverSinglestepScheduler": [flow],
        "DEISMultistepScheduler": [{**flow, "solver_order": 3}],
        "UniPCMultistepScheduler": [
            flow,
            {**flow, "shift_terminal": 0.1},
            {**flow, **KARRAS},
            {"disable_corrector": [0, 1]},
            {"predict_x0": False, "thresholding": True, "final_sigmas_type": "sigma_min"},
        ],
        "TCDScheduler": [{"clip_sample": True, "thresholding": True}],
        "FlowMatchEulerDiscreteScheduler": [
            {"stochastic_sampling": True},
            {"shift_terminal": 0.1},
            {"use_exponential_sigmas": True, "sigma_min": 0.05, "sigma_max": 0.9},
        ],
        "EDMEulerScheduler": [{"prediction_type": "v_prediction"}],
        "EDMDPMSolverMultistepScheduler": [
            {"prediction_type": "v_prediction", "algorithm_type": "sde-dpmsolver++"}
        ],
    }
    # 8 of 1000 times: an odd stride; 7: one that does not divide.
    return [
        ({"_class_name": name, **chosen}, steps)
        for name, variants in options.items()
        for chosen in variants
        for steps in (7, 8, 10)
    ]
