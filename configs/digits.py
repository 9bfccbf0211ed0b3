"""Handwritten digits: a small class-conditional U-Net on 1,442 real 8x8 scans, in minutes on a CPU.

    python train.py --config digits
    python sample.py --workdir runs/digits --label 7 --guidance 2 --out sevens.png

v-prediction on the cosine schedule, labels dropped one time in ten so that classifier-free guidance
works. The run's summary judges 1,000 samples: how many an SVM trained on real digits is sure of,
how the classes are spread, and how far the samples are from the training images.
"""

from dataclasses import asdict

from diffax.conditioning import Labels
from diffax.data import Digits
from diffax.evaluation import digit_quality
from diffax.generation import Sampling, generate
from diffax.losses import Stratified
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.solvers import DDIM
from diffax.training import Config, EMAConfig, Optimizer, Run, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=Digits(split="train"),
        objective=Denoising(
            network=UNet(
                channels=8 if debug else 32,
                multipliers=(1,) if debug else (1, 2),
                num_res_blocks=1,
                attention_resolutions=() if debug else (4,),
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
            conditioner=Labels(dropout=0.1),
        ),
        optimizer=Optimizer(
            learning_rate=2e-3, warmup_steps=2 if debug else 100, decay=CosineDecay()
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.995,)),
        train=TrainConfig(
            steps=20 if debug else 1500,
            batch_size=16 if debug else 128,
            steps_per_call=5 if debug else 10,
            quick=debug,
            log_every=5 if debug else 50,
            save_every=20 if debug else 500,
            sample_every=20 if debug else 500,
            frames=8 if debug else 60,
        ),
        sample=Sampling(
            solver=DDIM(eta=0.0),
            steps=5 if debug else 50,
            num=20 if debug else 100,
            batch_size=500,
            quick=debug,
        ),
    )


def summarize(run: Run) -> dict[str, float]:
    """Figures of 1,000 samples: see `diffax.evaluation.DigitQuality`."""
    return asdict(digit_quality(generate(run.model, num=1000).images))
