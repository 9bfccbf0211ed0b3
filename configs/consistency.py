"""Consistency models on handwritten digits (Song et al. 2023): samples in 1, 2 or 4 calls.

    python train.py --config consistency
    python train.py --config consistency:distilled --objective.teacher.path runs/digits
    python sample.py --workdir runs/consistency --steps 1

The first learns by itself, the second from a run of yours; both with the distance, targets and
weights of Song & Dhariwal (2024), on a grid whose number of intervals stays.
"""

from dataclasses import asdict

from diffax.conditioning import Labels
from diffax.data import Digits
from diffax.evaluation import digit_quality
from diffax.generation import Sampling, generate
from diffax.models import UNet
from diffax.objectives import ConsistencyDistillation, ConsistencyTraining
from diffax.solvers import Consistency
from diffax.training import (
    Config,
    EMAConfig,
    Optimizer,
    Run,
    TrainConfig,
    TrainedRun,
    debugged,
    unknown_variant,
)

VARIANTS = ("", "debug", "distilled", "distilled_debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, distilled = variant.endswith("debug"), variant.startswith("distilled")
    alone = ConsistencyTraining(
        network=UNet(
            channels=8 if debug else 32,
            multipliers=(1,) if debug else (1, 2),
            num_res_blocks=1,
            attention_resolutions=() if debug else (4,),
            time_scale=100.0,
        ),
        intervals=20,
        conditioner=Labels(dropout=0.1),
    )
    recipe = Config(
        data=Digits(split="train"),
        objective=ConsistencyDistillation(TrainedRun()) if distilled else alone,
        optimizer=Optimizer(learning_rate=5e-4, warmup_steps=100),
        ema=EMAConfig(decays=(0.995,)),
        train=TrainConfig(
            steps=2000, batch_size=128, steps_per_call=10, save_every=500, sample_every=500
        ),
        sample=Sampling(
            solver=Consistency(),
            steps=2,
            spacing="trailing" if distilled else "karras",
            num=100,
            batch_size=500,
        ),
    )
    return debugged(recipe) if debug else recipe


def summarize(run: Run) -> dict[str, float]:
    """Figures of 1,000 samples: see `diffax.evaluation.DigitQuality`."""
    return asdict(digit_quality(generate(run.model, num=1000).images))
