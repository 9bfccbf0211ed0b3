"""Makes `table.npz`: what diffusers' schedulers give for every configuration of `cases.py`.

    python tests/golden/solvers/make.py

Each configuration is run twice, as it is (float32) and in float64, for which `float32` is replaced
by `float64` in the scheduler's own module. Noise is read from `cases.NOISE`.
"""

import json
import sys
import types
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import cases  # noqa: E402


class _Double(types.ModuleType):
    """A module whose float32 is float64."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self.__dict__["module"] = module

    def __getattr__(self, name):
        return getattr(self.__dict__["module"], "float64" if name == "float32" else name)


def run(config: dict, steps: int, double: bool, network=None, start=None, asked=None):
    """The final state of diffusers' loop, NCHW; `asked` names the class if not the file's own."""
    config = dict(config)
    cls = getattr(diffusers, asked or config["_class_name"])
    eta = config.pop("eta", None)
    module = sys.modules[cls.__module__]
    dtype = torch.float64 if double else torch.float32
    names = ("torch", "np", "randn_tensor")
    real = {name: getattr(module, name) for name in names if hasattr(module, name)}
    tape = iter(cases.NOISE)
    torch.set_default_dtype(dtype)
    try:
        if double:
            for name in real.keys() & {"torch", "np"}:
                setattr(module, name, _Double(real[name]))
        module.randn_tensor = lambda *a, **k: torch.tensor(next(tape), dtype=dtype)
        scheduler = cls.from_config(config)
        scheduler.set_timesteps(steps)
        # Without it the step of a first time that comes twice is skipped.
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        return loop(scheduler, eta, dtype, network or cases.network, start).double().numpy()
    finally:
        for name, value in real.items():
            setattr(module, name, value)
        torch.set_default_dtype(torch.float32)


def loop(scheduler, eta, dtype, network, start) -> torch.Tensor:
    start = cases.START if start is None else start
    x = torch.tensor(start, dtype=dtype) * getattr(scheduler, "init_noise_sigma", 1.0)
    options = {} if eta is None else {"eta": eta}
    for t in scheduler.timesteps:
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        if isinstance(scheduler, diffusers.DDIMInverseScheduler):
            shown = x
        output = network(shown.to(dtype), t.to(dtype), torch).to(dtype)
        x = scheduler.step(output, t, x, **options).prev_sample
    return x


def main() -> None:
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    kept, single, double = [], [], []
    for number, (config, steps) in enumerate(cases.cases()):
        try:
            low, high = run(config, steps, False), run(config, steps, True)
        except Exception as error:
            raise RuntimeError(f"{config} at {steps} steps") from error
        kept.append([config, steps])
        single.append(low.ravel())
        double.append(high.ravel())
        if number % 500 == 0:
            print(number, flush=True)
    for (config, steps), high in zip(kept, double, strict=True):
        if not np.all(np.isfinite(high)):
            print("not finite:", config, steps)
    np.savez_compressed(
        HERE / "table.npz",
        cases=np.frombuffer(json.dumps(kept).encode(), np.uint8),
        single=np.array(single, np.float32),
        double=np.array(double, np.float64),
        versions=np.array([diffusers.__version__, torch.__version__]),
    )
    print(len(kept), "configurations,", (HERE / "table.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
