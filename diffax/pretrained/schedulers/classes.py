"""Which options each scheduler class of diffusers has, and which of them change its numbers.

A file of one class may be read by another. The rule is the reference's: of the file's options those
that the asked-for class does not read change nothing. On purpose it is otherwise in two places (the
table is in `docs/samplers.md`): `rescale_betas_zero_snr` says which noise levels the network was
trained on, so every class reads it; and an option that the *caller* names is honoured wherever it
has a meaning, else refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SchedulerClass:
    """A scheduler class of diffusers.

    Attributes:
        options: every option of its constructor and its default.
        unused: those of them on which no number depends.
        hidden: options of other classes that it reads from a file all the same.
        extra: options of other classes that are honoured where the caller names them.
        known: which choices of an option it knows, where other classes know more.
    """

    options: Mapping[str, Any]
    unused: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_BETAS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
_STABLE_DIFFUSION_BETAS = _BETAS | {"beta_start": 0.00085, "beta_end": 0.012}
_ZERO_SNR = {"rescale_betas_zero_snr": False}
_THRESHOLD = {
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
}
_LEADING = {"timestep_spacing": "leading", "steps_offset": 0}
_LINSPACE = {"timestep_spacing": "linspace", "steps_offset": 0}
_SPACED = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_FINAL = {"final_sigmas_type": "zero"}
_SIGMAS = {"sigma_min": None, "sigma_max": None}
_FLOW_SIGMAS = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
_MULTISTEP = _BETAS | _THRESHOLD | _SPACED | _FLOW_SIGMAS | {"solver_order": 2}
_DPM = {
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}
_DISTILLED = {
    **_STABLE_DIFFUSION_BETAS,
    "beta_schedule": "scaled_linear",
    "original_inference_steps": 50,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "set_alpha_to_one": True,
    **_THRESHOLD,
    **_LEADING,
    **_ZERO_SNR,
    "timestep_scaling": 10.0,
}
_EDM = {
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "sigma_schedule": "karras",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rho": 7.0,
    "final_sigmas_type": "zero",
}

# A limit wraps any denoiser.
_LIMITS = frozenset({*_THRESHOLD, "clip_sample", "clip_sample_range"})
_ANY_LEVELS = _LIMITS | {*_SPACED, *_SIGMAS, *_FINAL}
_ANY_MULTISTEP = _LIMITS | {
    *_LINSPACE, *_SIGMAS, *_FINAL, "lambda_min_clipped", "use_lu_lambdas",
}  # fmt: skip
# A file's options that a class does not name stay in its settings, where these two are looked up.
_SEEN = frozenset(_SIGMAS)
_EVERYWHERE = frozenset(_ZERO_SNR)
_PLAIN = {"hidden": _EVERYWHERE, "extra": _LIMITS}
_LEVELS = {"hidden": _SEEN | _EVERYWHERE, "extra": _ANY_LEVELS}
_STEPPED = {"hidden": _SEEN | _EVERYWHERE, "extra": _ANY_MULTISTEP}

_DPM_TYPES = ("midpoint", "heun")
_DPM_ALGORITHMS = ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver")
_ONLY_FOR_DYNAMIC = frozenset({"time_shift_type"})

CLASSES: dict[str, SchedulerClass] = {
    "DDPMScheduler": SchedulerClass(
        {
            **_BETAS,
            "variance_type": "fixed_small",
            "clip_sample": True,
            "clip_sample_range": 1.0,
            **_THRESHOLD,
            **_LEADING,
            **_ZERO_SNR,
        },
        **_PLAIN,
    ),
    "DDIMScheduler": SchedulerClass(
        {
            **_BETAS,
            "clip_sample": True,
            "clip_sample_range": 1.0,
            "set_alpha_to_one": True,
            **_THRESHOLD,
            **_LEADING,
            **_ZERO_SNR,
        },
        hidden=_EVERYWHERE,
        extra=_LIMITS | {"eta"},
    ),
    "DDIMInverseScheduler": SchedulerClass(
        {
            **_BETAS,
            "clip_sample": True,
            "clip_sample_range": 1.0,
            "set_alpha_to_one": True,
            **_LEADING,
            **_ZERO_SNR,
        },
        **_PLAIN,
    ),
    "PNDMScheduler": SchedulerClass(
        {**_BETAS, **_LEADING, "skip_prk_steps": False, "set_alpha_to_one": False}, **_PLAIN
    ),
    "EulerDiscreteScheduler": SchedulerClass(
        {
            **_BETAS,
            **_SPACED,
            **_SIGMAS,
            **_LINSPACE,
            **_ZERO_SNR,
            **_FINAL,
            "interpolation_type": "linear",
            "timestep_type": "discrete",
        },
        **_PLAIN,
    ),
    "EulerAncestralDiscreteScheduler": SchedulerClass(
        {**_BETAS, **_LINSPACE, **_ZERO_SNR},
        hidden=_EVERYWHERE,
        extra=_ANY_LEVELS | {"eta"},
    ),
    "HeunDiscreteScheduler": SchedulerClass(
        {
            **_STABLE_DIFFUSION_BETAS,
            **_SPACED,
            **_LINSPACE,
            "clip_sample": False,
            "clip_sample_range": 1.0,
        },
        **_LEVELS,
    ),
    "KDPM2DiscreteScheduler": SchedulerClass(
        {**_STABLE_DIFFUSION_BETAS, **_SPACED, **_LINSPACE}, **_LEVELS
    ),
    "KDPM2AncestralDiscreteScheduler": SchedulerClass(
        {**_STABLE_DIFFUSION_BETAS, **_SPACED, **_LINSPACE},
        hidden=_SEEN | _EVERYWHERE,
        extra=_ANY_LEVELS | {"eta"},
    ),
    "LMSDiscreteScheduler": SchedulerClass({**_BETAS, **_SPACED, **_LINSPACE}, **_LEVELS),
    "DPMSolverMultistepScheduler": SchedulerClass(
        {
            **_MULTISTEP,
            **_DPM,
            **_LINSPACE,
            **_ZERO_SNR,
            "euler_at_final": False,
            "use_lu_lambdas": False,
            "lambda_min_clipped": -float("inf"),
            "variance_type": None,
        },
        unused=_ONLY_FOR_DYNAMIC | {"variance_type"},
        hidden=_SEEN,
        extra=_ANY_MULTISTEP | {"eta"},
        known={"solver_type": _DPM_TYPES, "algorithm_type": _DPM_ALGORITHMS},
    ),
    "DPMSolverSinglestepScheduler": SchedulerClass(
        {
            **_MULTISTEP,
            **_DPM,
            "lower_order_final": False,
            "lambda_min_clipped": -float("inf"),
            "variance_type": None,
        },
        unused=_ONLY_FOR_DYNAMIC | {"variance_type"},
        **_STEPPED,
        known={"solver_type": _DPM_TYPES, "algorithm_type": _DPM_ALGORITHMS[:3]},
    ),
    "DEISMultistepScheduler": SchedulerClass(
        {
            **_MULTISTEP,
            **_LINSPACE,
            "algorithm_type": "deis",
            "solver_type": "logrho",
            "lower_order_final": True,
        },
        unused=_ONLY_FOR_DYNAMIC | {"algorithm_type", "solver_type"},
        hidden=_SEEN | _EVERYWHERE,
        # Its polynomial in log(sigma / alpha) has no value at the clean end.
        extra=_ANY_MULTISTEP - {*_FINAL},
        known={"solver_type": ("logrho",), "algorithm_type": ("deis",)},
    ),
    "UniPCMultistepScheduler": SchedulerClass(
        {
            **_MULTISTEP,
            **_LINSPACE,
            **_FINAL,
            **_ZERO_SNR,
            **_SIGMAS,
            "solver_type": "bh2",
            "lower_order_final": True,
            "predict_x0": True,
            "disable_corrector": [],
            "solver_p": None,
            "shift_terminal": None,
        },
        unused=_ONLY_FOR_DYNAMIC,
        extra=_ANY_MULTISTEP,
        known={"solver_type": ("bh1", "bh2")},
    ),
    "LCMScheduler": SchedulerClass(
        _DISTILLED, unused=frozenset({*_LEADING, "set_alpha_to_one"}), extra=_LIMITS
    ),
    "TCDScheduler": SchedulerClass(
        _DISTILLED,
        unused=_LIMITS | {*_LEADING, "set_alpha_to_one", "timestep_scaling"},
        extra=_LIMITS | {"eta"},
    ),
    "FlowMatchEulerDiscreteScheduler": SchedulerClass(
        {
            "num_train_timesteps": 1000,
            "shift": 1.0,
            "use_dynamic_shifting": False,
            "base_shift": 0.5,
            "max_shift": 1.15,
            "base_image_seq_len": 256,
            "max_image_seq_len": 4096,
            "invert_sigmas": False,
            "shift_terminal": None,
            **_SPACED,
            "time_shift_type": "exponential",
            "stochastic_sampling": False,
        },
        unused=_ONLY_FOR_DYNAMIC
        | {"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"},
        hidden=_SEEN,
        extra=_LIMITS,
    ),
    "FlowMatchHeunDiscreteScheduler": SchedulerClass(
        {"num_train_timesteps": 1000, "shift": 1.0}, extra=_LIMITS
    ),
    "EDMEulerScheduler": SchedulerClass(
        _EDM, unused=frozenset({"num_train_timesteps"}), extra=_LIMITS
    ),
    "EDMDPMSolverMultistepScheduler": SchedulerClass(
        {**_EDM, **_THRESHOLD, **_DPM, "solver_order": 2, "euler_at_final": False},
        unused=frozenset({"num_train_timesteps"}),
        extra=_LIMITS,
        known={"solver_type": _DPM_TYPES, "algorithm_type": _DPM_ALGORITHMS[:2]},
    ),
}

# What the makers read of a class that has no such option.
ABSENT: dict[str, Any] = {
    **_ZERO_SNR,
    **_THRESHOLD,
    **_LINSPACE,
    **_SPACED,
    **_FINAL,
    **_SIGMAS,
    **_FLOW_SIGMAS,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "interpolation_type": "linear",
    "timestep_type": "discrete",
    "lambda_min_clipped": -float("inf"),
    "use_lu_lambdas": False,
    "euler_at_final": False,
    "shift_terminal": None,
    "eta": None,
}
