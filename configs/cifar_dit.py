"""A diffusion transformer on CIFAR-10 with classes: DiT-S/2 on pixels, trained as SiT is.

    python train.py --config cifar_dit --data.dir DIR
    python sample.py --workdir runs/cifar_dit --label 7 --guidance 1.5

The network of Peebles & Xie (2023) with the straight path and its velocity (Ma et al. 2024),
logit-normal times, AdamW at 1e-4 and labels dropped one time in ten. Nothing is published for it on
CIFAR-10. DIR holds CIFAR-10 as tensorflow-datasets prepares it.
"""

from diffax.conditioning import Labels
from diffax.data import TFDS, Digits
from diffax.generation import Sampling
from diffax.losses import LogitNormal
from diffax.models import DiT
from diffax.objectives import Denoising
from diffax.parameterization import Velocity
from diffax.schedules import RectifiedFlow
from diffax.solvers import Heun
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
    sizes = dict(features=16, depth=1, num_heads=2)
    recipe = Config(
        data=Digits() if debug else TFDS("cifar10", split="train", flip=True),
        objective=Denoising(
            network=DiT(**sizes) if debug else DiT.of_size("S", patch_size=2, time_scale=1000.0),
            schedule=RectifiedFlow(),
            parameterization=Velocity(),
            times=LogitNormal(),
            conditioner=Labels(dropout=0.1),
        ),
        optimizer=Optimizer(method=AdamW(weight_decay=0.0), learning_rate=1e-4),
        ema=EMAConfig(decays=(0.9999,)),
        train=TrainConfig(
            steps=400_000,
            batch_size=256,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(solver=Heun(space="straight"), steps=25),
    )
    return debugged(recipe) if debug else recipe
