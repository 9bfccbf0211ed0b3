"""What values an option of a scheduler may have; anything else is refused by name."""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MOST_STEPS = 100_000


@dataclass(frozen=True)
class Kind:
    """A kind of value: how it is called in an error, and how it is told."""

    words: str
    accepts: Callable[[Any], bool]

    def check(self, option: str, scheduler: str, value: Any, default: Any) -> None:
        """Refuse a value of another kind; null is one where it is the default.

        Raises:
            ValueError: naming the option, what was expected, and what came.
        """
        if value is None and default is None:
            return
        if not self.accepts(value):
            null = ", or null" if default is None else ""
            raise ValueError(
                f"{option} of {scheduler}: expected {self.words}{null}, got {reprlib.repr(value)}"
            )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # A whole number too large for a float cannot be counted with either.
    return isinstance(value, float) or (_is_whole(value) and abs(value) < 2**63)


def _whole(low: int, high: int) -> Kind:
    accepts = lambda value: _is_whole(value) and low <= value <= high  # noqa: E731
    return Kind(f"a whole number in [{low}, {high}]", accepts)


def _number(low: float, high: float, words: str = "") -> Kind:
    accepts = lambda value: _is_number(value) and low <= value <= high  # noqa: E731
    return Kind(words or f"a number in [{low:g}, {high:g}]", accepts)


def _one_of(*values: str) -> Kind:
    return Kind(f"one of {', '.join(values)}", lambda value: value in values)


def _list_of(kind: Kind) -> Kind:
    return Kind(
        f"a list of at most {_MOST_STEPS} entries, each {kind.words}",
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) <= _MOST_STEPS
            and all(map(kind.accepts, value))
        ),
    )


_FLAG = Kind("true or false", lambda value: isinstance(value, bool))
_SHARE = _number(0, 1)
_BETA = _number(math.ulp(0.0), 1, "a number in (0, 1]")
_POSITIVE = _number(math.ulp(0.0), 1e9, "a positive number up to 1e9")
_ANY_NUMBER = _number(-math.inf, math.inf, "a number")

KINDS: dict[str, Kind] = {
    # The noise schedule.
    "num_train_timesteps": _whole(1, _MOST_STEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "beta_schedule": _one_of(
        "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"
    ),
    "trained_betas": _list_of(_BETA),
    "rescale_betas_zero_snr": _FLAG,
    "sigma_data": _POSITIVE,
    # What the network answers, and limits on its x0.
    "prediction_type": _one_of(
        "epsilon", "sample", "original_sample", "v_prediction", "flow_prediction"
    ),
    "variance_type": _one_of(
        "fixed_small",
        "fixed_small_log",
        "fixed_large",
        "fixed_large_log",
        "learned",
        "learned_range",
    ),
    "thresholding": _FLAG,
    "dynamic_thresholding_ratio": _SHARE,
    "sample_max_value": _POSITIVE,
    "clip_sample": _FLAG,
    "clip_sample_range": _POSITIVE,
    # The points.
    "timestep_spacing": _one_of("linspace", "leading", "trailing"),
    "timestep_type": _one_of("discrete", "continuous"),
    "interpolation_type": _one_of("linear", "log_linear"),
    "steps_offset": _whole(0, _MOST_STEPS),
    "set_alpha_to_one": _FLAG,
    "use_karras_sigmas": _FLAG,
    "use_exponential_sigmas": _FLAG,
    "use_beta_sigmas": _FLAG,
    "use_lu_lambdas": _FLAG,
    "use_flow_sigmas": _FLAG,
    "flow_shift": _POSITIVE,
    "shift": _POSITIVE,
    "shift_terminal": _number(0, 0.999),
    "use_dynamic_shifting": _FLAG,
    "invert_sigmas": _FLAG,
    "sigma_min": _POSITIVE,
    "sigma_max": _POSITIVE,
    "sigma_schedule": _one_of("karras", "exponential"),
    "rho": _POSITIVE,
    "final_sigmas_type": _one_of("zero", "sigma_min"),
    "lambda_min_clipped": _ANY_NUMBER,
    "original_inference_steps": _whole(1, _MOST_STEPS),
    # The solver. Values that only other classes know are told in `classes`.
    "solver_order": _whole(1, 3),
    "solver_type": _one_of("midpoint", "heun", "logrho", "bh1", "bh2"),
    "algorithm_type": _one_of(
        "dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver", "deis"
    ),
    "lower_order_final": _FLAG,
    "euler_at_final": _FLAG,
    "predict_x0": _FLAG,
    "disable_corrector": _list_of(_whole(0, _MOST_STEPS)),
    "solver_p": Kind("null (another predictor has no counterpart here)", lambda value: False),
    "skip_prk_steps": _FLAG,
    "stochastic_sampling": _FLAG,
    "timestep_scaling": _POSITIVE,
    # The caller's own; it may be traced.
    "eta": Kind("a number", lambda value: _is_number(value) or getattr(value, "shape", 0) == ()),
}
