"""Reads a configuration: checks what came, fills in what did not, drops what is not read."""

import reprlib
import warnings
from collections.abc import Mapping
from typing import Any

from diffax.pretrained.schedulers.classes import ABSENT, CLASSES, SchedulerClass
from diffax.pretrained.schedulers.kinds import KINDS


def read(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The asked-for class and every option that its numbers depend on.

    Args:
        config: the contents of `scheduler_config.json`.
        overrides: what the caller asks for, `_class_name` among it.

    Raises:
        ValueError: no such class; a value of another kind; an option without a counterpart; an
            override that the class has no use for.
    """
    if not isinstance(config, Mapping):
        raise ValueError(
            f"a scheduler configuration is a JSON object, got {reprlib.repr(config)}; "
            "give the contents of scheduler_config.json"
        )
    name = overrides.get("_class_name", config.get("_class_name", ""))
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(
            f"no counterpart of the diffusers scheduler {reprlib.repr(name)}; there are: "
            f"{', '.join(sorted(CLASSES))}"
        )
    scheduler = CLASSES[name]
    from_file = {
        option: config[option]
        for option in (*scheduler.options, *scheduler.hidden)
        if option in config and option not in scheduler.unused
    }
    asked = {option: value for option, value in overrides.items() if option != "_class_name"}
    for option, value in asked.items():
        _check_override(name, scheduler, option, value)
    unread = _unread(name, {**scheduler.options, **from_file, **asked})
    given = {k: v for k, v in from_file.items() if k not in unread} | asked
    defaults = {**ABSENT, **scheduler.options}
    for option, value in given.items():
        if option in KINDS:
            KINDS[option].check(option, name, value, defaults[option])
    options = {**defaults, **given}
    for option, known in scheduler.known.items():
        options[option] = _known_choice(name, scheduler, option, options[option], known)
    _refuse(name, options)
    return name, options


def _unread(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options of the file that the class reads, but not beside others that it has."""
    if name == "LMSDiscreteScheduler" and options["use_karras_sigmas"]:
        return "sigma_min", "sigma_max"
    if name == "UniPCMultistepScheduler" and not options["predict_x0"]:
        return ("thresholding",)
    return ()


def _check_override(name: str, scheduler: SchedulerClass, option: str, value: Any) -> None:
    """An option that would change nothing should not be asked for."""
    read_by_class = option in scheduler.options or option in scheduler.hidden
    if option in scheduler.extra or (read_by_class and option not in scheduler.unused):
        return
    if option in ABSENT and value == ABSENT[option]:
        return
    if option in scheduler.options and value == scheduler.options[option]:
        return
    if not any(option in other.options for other in CLASSES.values()) and option != "eta":
        raise ValueError(f"no scheduler has an option {option}; check its name")
    raise ValueError(f"option {option} changes nothing in {name}; leave it out")


def _known_choice(
    name: str, scheduler: SchedulerClass, option: str, value: str, known: tuple[str, ...]
) -> str:
    """The class's default for a choice that only other classes know."""
    if value in known:
        return value
    default = scheduler.options[option]
    if option not in scheduler.unused:
        warnings.warn(
            f"{name} knows no {option} {value!r} (it knows {', '.join(known)}): "
            f"{default!r} is taken, as diffusers does",
            stacklevel=4,
        )
    return default


def _refuse(name: str, options: Mapping[str, Any]) -> None:
    """What has no counterpart here, by name."""
    reasons = {
        "use_dynamic_shifting": "moves the points by a number that each pipeline works out from "
        "the image's size; give that as shift or flow_shift",
        "invert_sigmas": "counts noise from the other end",
    }
    for option, reason in reasons.items():
        if options.get(option):
            raise ValueError(f"option {option} of {name} has no counterpart here: it {reason}")
    betas, total = options.get("trained_betas"), options.get("num_train_timesteps")
    if betas is not None and len(betas) != total:
        raise ValueError(
            f"trained_betas of {name} has {len(betas)} entries, num_train_timesteps says {total}; "
            "they should agree"
        )
    _refuse_paths(name, options)


def _refuse_paths(name: str, options: Mapping[str, Any]) -> None:
    """The straight path together with what belongs to schedules that preserve variance."""
    kind, flow = options.get("prediction_type"), options["use_flow_sigmas"]
    spacings = [f"use_{s}_sigmas" for s in ("karras", "exponential", "beta")] + ["use_lu_lambdas"]
    if name == "UniPCMultistepScheduler":
        spacings.remove("use_karras_sigmas")
    spaced = [option for option in spacings if options[option]]
    if flow and spaced:
        raise ValueError(
            f"use_flow_sigmas of {name} with {spaced[0]} has no counterpart here: those levels "
            "are not on the straight path; leave one of them out"
        )
    if flow and kind == "v_prediction":
        raise ValueError(
            f"use_flow_sigmas of {name} with prediction_type v_prediction has no counterpart "
            "here: v belongs to schedules that preserve variance; use flow_prediction"
        )
    if kind == "flow_prediction" and not flow:
        raise ValueError(
            f"prediction_type flow_prediction of {name} needs use_flow_sigmas, the straight path"
        )
    if options["shift_terminal"] and "use_flow_sigmas" in CLASSES[name].options and not flow:
        raise ValueError(f"shift_terminal of {name} needs use_flow_sigmas, the straight path")
