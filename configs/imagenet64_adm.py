"""ADM on ImageNet 64x64 with classes (Dhariwal & Nichol 2021, section 4 and table 11).

    python train.py --config imagenet64_adm --data.dir IMAGES
    python sample.py --workdir runs/imagenet64_adm --variance learned_range --steps 250

The cosine schedule with T = 1000, learned variances, batches of 2,048 for 540,000 steps. Published:
FID 2.07 with 250 steps. 295,904,454 parameters. IMAGES holds a folder for each class.
"""

from diffax.conditioning import Labels
from diffax.data import Digits, ImageFolder
from diffax.generation import Sampling
from diffax.losses import LearnedVariance, Uniform
from diffax.models import ADM
from diffax.objectives import Denoising
from diffax.parameterization import Eps
from diffax.schedules import Cosine
from diffax.solvers import DDPM
from diffax.training import (
    AdamW,
    Config,
    EMAConfig,
    Optimizer,
    TrainConfig,
    debugged,
    unknown_variant,
)

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    sizes = dict(channels=8, multipliers=(1, 2), num_res_blocks=1, num_heads=1)
    recipe = Config(
        data=Digits() if debug else ImageFolder(image_size=64, flip=True),
        objective=Denoising(
            network=ADM(attention_resolutions=(4,), **sizes) if debug else ADM(dropout=0.1),
            schedule=Cosine(num_steps=1000),
            parameterization=Eps(),
            times=Uniform(),
            variance=LearnedVariance(),
            conditioner=Labels(dropout=0.0),
        ),
        optimizer=Optimizer(method=AdamW(weight_decay=0.0), learning_rate=3e-4, clip=None),
        ema=EMAConfig(decays=(0.9999,)),
        train=TrainConfig(
            steps=540_000,
            batch_size=2048,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(solver=DDPM("learned_range"), steps=250),
    )
    return debugged(recipe) if debug else recipe
