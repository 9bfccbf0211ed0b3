"""Makes `options.json`: every option of every scheduler read here, with diffusers' own default.

python tests/golden/solvers/make_options.py
"""

import inspect
import json
import sys
from pathlib import Path

import diffusers

HERE = Path(__file__).parent
CLASSES = (
    "DDIMInverseScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)


def signatures() -> dict[str, dict]:
    """Class -> option -> default, as the installed diffusers has them."""
    found = {}
    for name in CLASSES:
        parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
        found[name] = {
            option: list(p.default) if isinstance(p.default, tuple) else p.default
            for option, p in parameters.items()
            if option != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD
        }
    return found


def main() -> None:
    text = json.dumps(signatures(), indent=1)
    (HERE / "options.json").write_text(text + "\n")
    print(sum(map(len, signatures().values())), "options; diffusers", diffusers.__version__)


if __name__ == "__main__":
    sys.exit(main())
