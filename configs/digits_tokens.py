"""Handwritten digits as tokens: each pixel one of 17 grey levels, unmasked bit by bit.

    python train.py --config digits_tokens
    python sample.py --workdir runs/digits_tokens --label 7 --guidance 2 --out sevens.png
    python evaluate.py --workdir runs/digits_tokens

The objective of `text`, on images: a masked diffusion transformer that is told the label (dropped
one time in ten, for classifier-free guidance), and learns by the exact bound on the likelihood
(Sahoo et al. 2024). The summary judges 1,000 samples, as that of `digits` does.
"""

from dataclasses import asdict

from diffax.codecs import Levels
from diffax.conditioning import Labels
from diffax.data import Digits
from diffax.evaluation import digit_quality
from diffax.generation import Sampling, generate
from diffax.models import TokenTransformer
from diffax.objectives import TokenDiffusion
from diffax.solvers import Ancestral
from diffax.training import Config, EMAConfig, Optimizer, Run, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay
from diffax.training.optimizer import Muon

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=Digits(split="train"),
        objective=TokenDiffusion(
            network=TokenTransformer(
                features=16 if debug else 64,
                depth=1 if debug else 3,
                num_heads=2 if debug else 4,
                neighbours=9,  # the eight around a pixel, in rows of eight
                learned_places=True,
            ),
            conditioner=Labels(dropout=0.1),
            codec=Levels(levels=17),
        ),
        optimizer=Optimizer(
            method=Muon(),
            learning_rate=3e-2,
            warmup_steps=2 if debug else 20,
            decay=CosineDecay(),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.98,)),
        train=TrainConfig(
            steps=20 if debug else 800,
            batch_size=8 if debug else 64,
            steps_per_call=5 if debug else 10,
            quick=debug,
            log_every=5 if debug else 50,
            save_every=10 if debug else 400,
            sample_every=10 if debug else 400,
            frames=8 if debug else 60,
        ),
        sample=Sampling(
            solver=Ancestral(),
            steps=8 if debug else 64,
            clip=None,
            num=20 if debug else 100,
            batch_size=500,
            quick=debug,
        ),
    )


def summarize(run: Run) -> dict[str, float]:
    """Figures of 1,000 samples: see `diffax.evaluation.DigitQuality`."""
    return asdict(digit_quality(generate(run.model, num=1000).images))
