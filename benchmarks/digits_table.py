"""What the objectives of the literature make of 8x8 digits, at the same small budget each.

    python benchmarks/digits_table.py
    python benchmarks/digits_table.py --part few_steps --shorter 10

Three parts. `quality`: {eps, x0, v, EDM, flow} x {U-Net, DiT}, each network trained as suits it
(`NETWORKS`) within two minutes of a CPU, and sampled in 20 calls. `few_steps`: progressive
distillation of the v U-Net and a consistency model of its own, at 1, 2 and 4 calls. `guidance`: how
many of the digits are read as the class that was asked for, and how varied they are, against the
scale.

Runs lie in --workdir and continue; what is measured is kept in
`benchmarks/results/digits_table.json` after every cell, so that the script may be stopped anywhere.
`--draw` draws the guidance curve of what is there.
"""

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import jax

from diffax import atomic, parameterization, schedules
from diffax.conditioning import Labels
from diffax.data import Digits
from diffax.evaluation import digit_obedience, digit_quality
from diffax.generation import Sampling, generate
from diffax.image_range import to_float
from diffax.losses import LogNormal, Stratified
from diffax.models import DiT, UNet, parameter_count
from diffax.objectives import ConsistencyTraining, Denoising, Progressive
from diffax.solvers import DDIM, Consistency
from diffax.training import (
    Cosine,
    EMAConfig,
    Optimizer,
    TrainedRun,
    load_run,
    train,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from sampler_quality import frechet  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "digits_table.json"
PICTURE = ROOT / "docs" / "images" / "guidance.png"
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained: what it learns most by in the time it is given."""

    steps: int
    batch_size: int
    rate: float


def unet(time_scale: float) -> UNet:
    """The network of the recipe `digits`."""
    return UNet(
        channels=32,
        multipliers=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(4,),
        time_scale=time_scale,
    )


def dit(time_scale: float) -> DiT:
    """About as many parameters as the U-Net."""
    return DiT(features=128, depth=3, num_heads=4, patch_size=2, time_scale=time_scale)


TABLE, FLOW, LEVELS = schedules.Cosine(num_steps=1000), schedules.RectifiedFlow(), schedules.EDM()
# Parameterization, schedule, times, what makes network times of order 1000, and how it is sampled.
KINDS = {
    "eps": (parameterization.Eps(), TABLE, Stratified(), 1.0, "trailing"),
    "x0": (parameterization.X0(), TABLE, Stratified(), 1.0, "trailing"),
    "v": (parameterization.V(), TABLE, Stratified(), 1.0, "trailing"),
    "EDM": (parameterization.EDM(0.6), LEVELS, LogNormal(-1.2, 1.2), 100.0, "karras"),
    "flow": (parameterization.Velocity(), FLOW, Stratified(), 1000.0, "trailing"),
}
NETWORKS = {
    "U-Net": (unet, Training(steps=400, batch_size=64, rate=2e-3)),
    "DiT": (dit, Training(steps=900, batch_size=32, rate=3e-3)),
}


def main() -> None:
    """Measure what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shorter", type=int, default=1, help="divides the steps: to try it out")
    parser.add_argument("--part", choices=tuple(PARTS), nargs="*")
    parser.add_argument("--cells", default="", help="of a part, those whose names hold this")
    parser.add_argument("--num", type=int, default=1000, help="samples of every cell")
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "digits_table")
    parser.add_argument("--draw", action="store_true")
    flags = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    if flags.draw:
        draw(result)
        return
    result["machine"] = machine()
    result["samples"], result["calls"] = flags.num, SAMPLING.steps
    result["training"] = {
        name: dataclasses.asdict(training) for name, (_, training) in NETWORKS.items()
    }
    for name in flags.part or PARTS:
        for cell, measure in PARTS[name](flags.workdir, flags.shorter, flags.num):
            if cell in result.setdefault(name, {}) or flags.cells not in cell:
                continue
            began = time.process_time()
            result[name][cell] = measure() | {"cpu_seconds": round(time.process_time() - began)}
            print(name, cell, result[name][cell], flush=True)
            atomic.write(RESULT, (json.dumps(result, indent=1) + "\n").encode())


def quality(workdir: Path, shorter: int, num: int):
    """Cells of the first table."""
    for network in NETWORKS:
        for kind in KINDS:
            yield (
                f"{kind} {network}",
                lambda k=kind, n=network: judged(trained(workdir, k, n, shorter), num),
            )


def few_steps(workdir: Path, shorter: int, num: int):
    """Students of one teacher, each the next one's teacher; and a consistency model."""

    def few(calls: int) -> dict[str, Any]:
        return {"steps": calls, "quick": True}  # compiling costs more than so few calls

    teacher, (_, training) = folder(workdir, "v", "U-Net"), NETWORKS["U-Net"]
    for calls in (1, 2, 4):
        yield (
            f"teacher, {calls} calls",
            lambda c=calls: judged(trained(workdir, "v", "U-Net", shorter), num, **few(c)),
        )
    brief = dataclasses.replace(training, steps=training.steps // 4, rate=5e-4)
    for calls in (4, 2, 1):
        student = workdir / f"progressive_{calls}"

        def measure(teacher=teacher, student=student, calls=calls):
            objective = Progressive(TrainedRun(str(teacher)), steps=calls)
            sampling = dataclasses.replace(SAMPLING, steps=calls)
            run(student, objective, brief, shorter, sampling, ema=0.98)
            return judged(student, num, **few(calls))

        yield f"progressive, {calls} calls", measure
        teacher = student
    alone = workdir / "consistency"
    for calls in (1, 2, 4):

        def measure_alone(calls=calls):
            objective = ConsistencyTraining(
                unet(100.0), intervals=20, conditioner=Labels(dropout=0.1)
            )
            sampling = dataclasses.replace(SAMPLING, solver=Consistency(), spacing="karras")
            run(alone, objective, dataclasses.replace(training, rate=1e-3), shorter, sampling)
            return judged(alone, num, **few(calls))

        yield f"consistency training, {calls} calls", measure_alone


def guidance(workdir: Path, shorter: int, num: int):
    """As asked and diversity, against the guidance scale."""
    for scale in SCALES:

        def measure(scale=scale):
            model = load_run(trained(workdir, "v", "U-Net", shorter))
            samples = generate(model, num=num, guidance=scale)
            return dataclasses.asdict(digit_obedience(samples.images, samples.label))

        yield f"{scale:g}", measure


PARTS = {"quality": quality, "few_steps": few_steps, "guidance": guidance}
SAMPLING = Sampling(solver=DDIM(), steps=20, batch_size=500)


def folder(workdir: Path, kind: str, network: str) -> Path:
    """Of one cell's run."""
    return workdir / f"{kind}_{network}".replace("-", "").lower()


def trained(workdir: Path, kind: str, network: str, shorter: int) -> Path:
    """The folder of a finished run of one cell."""
    asked, schedule, times, scale, spacing = KINDS[kind]
    make, training = NETWORKS[network]
    objective = Denoising(
        network=make(scale),
        schedule=schedule,
        parameterization=asked,
        times=times,
        conditioner=Labels(dropout=0.1),
    )
    path = folder(workdir, kind, network)
    run(path, objective, training, shorter, dataclasses.replace(SAMPLING, spacing=spacing))
    return path


def run(
    path: Path, objective, training: Training, shorter: int, sampling, ema: float = 0.99
) -> None:
    """Trains to the end, from wherever the folder has got to."""
    steps = training.steps // shorter
    done = train(
        objective,
        Digits(),
        Optimizer(learning_rate=training.rate, warmup_steps=steps // 8, decay=Cosine()),
        path,
        ema=EMAConfig(decays=(ema,)),
        sample=sampling,
        steps=steps,
        batch_size=training.batch_size,
        steps_per_call=10,
        save_every=200,
        sample_every=0,
        tensorboard=False,
        images=False,
    )
    if done.step < steps:
        raise SystemExit(130)


def judged(path: Path, num: int, **options) -> dict[str, float]:
    """Figures of samples of all classes in turn, without guidance."""
    model = load_run(path)
    samples = generate(model, num=num, **options)
    return {
        "parameters": parameter_count(model.network.params),
        **dataclasses.asdict(digit_quality(samples.images)),
        **dataclasses.asdict(digit_obedience(samples.images, samples.label)),
        "frechet": frechet(to_float(samples.images), to_float(Digits().load().arrays()["x"])),
    }


def machine() -> dict[str, str]:
    """Where the figures come from."""
    return {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
    }


def draw(result: dict) -> None:
    """Obedience and diversity against the scale."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = result["guidance"]
    scales = [float(scale) for scale in rows]
    figure, panel = plt.subplots(figsize=(6, 4))
    for name, label in (("as_asked", "read as asked"), ("diversity", "diversity within classes")):
        panel.plot(scales, [row[name] for row in rows.values()], marker="o", label=label)
    panel.axhline(0.97, color="k", lw=0.8, ls=":")
    panel.set_xlabel("guidance scale")
    panel.set_ylim(0, 1.1)
    panel.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
