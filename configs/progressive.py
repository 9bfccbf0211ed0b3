"""Progressive distillation of a digits run (Salimans & Ho 2022): half as many steps each time.

    python train.py --config progressive --objective.teacher.path runs/digits
    python train.py --config progressive --workdir runs/two --objective.teacher.path \
        runs/progressive --objective.steps 2 --sample.steps 2

The student makes one DDIM step where its teacher makes two: 4 steps here, then 2, then 1, each run
with the one before as its teacher.
"""

from dataclasses import asdict

from diffax.data import Digits
from diffax.evaluation import digit_quality
from diffax.generation import Sampling, generate
from diffax.objectives import Progressive
from diffax.solvers import DDIM
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

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    recipe = Config(
        data=Digits(split="train"),
        objective=Progressive(TrainedRun(), steps=4),
        optimizer=Optimizer(learning_rate=5e-4, warmup_steps=50),
        ema=EMAConfig(decays=(0.99,)),
        train=TrainConfig(
            steps=500, batch_size=128, steps_per_call=10, save_every=250, sample_every=250
        ),
        sample=Sampling(solver=DDIM(eta=0.0), steps=4, num=100, batch_size=500),
    )
    return debugged(recipe) if variant == "debug" else recipe


def summarize(run: Run) -> dict[str, float]:
    """Figures of 1,000 samples: see `diffax.evaluation.DigitQuality`."""
    return asdict(digit_quality(generate(run.model, num=1000).images))
