"""Variational diffusion on CIFAR-10 (Kingma et al. 2021): the likelihood's bound is the loss.

    python train.py --config cifar_vdm --data.dir DIR

32 residual blocks at full resolution with attention in the middle alone, Fourier features of the
pixels, and a noise schedule whose two ends are learned; 10 million steps of AdamW without
augmentation. Published: 2.64 bits a dimension. DIR holds CIFAR-10 as tensorflow-datasets prepares
it.
"""

from diffax.data import TFDS, Digits
from diffax.generation import Sampling
from diffax.losses import Stratified
from diffax.models import UNet
from diffax.objectives import Variational
from diffax.parameterization import VDM
from diffax.schedules import LearnedLinear
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
    recipe = Config(
        data=Digits() if debug else TFDS("cifar10", split="train", labels=False),
        objective=Variational(
            network=UNet(
                channels=8 if debug else 128,
                multipliers=(1,),
                num_res_blocks=1 if debug else 32,
                attention_resolutions=(),
                dropout=0.1,
                time_scale=1000.0,
                waves=(7, 8),
            ),
            schedule=LearnedLinear(gamma_min=-13.3, gamma_max=5.0),
            parameterization=VDM(low=-13.3, high=5.0),
            times=Stratified(),
        ),
        optimizer=Optimizer(
            method=AdamW(b2=0.99, weight_decay=0.01),
            learning_rate=2e-4,
            warmup_steps=100,
            clip=None,
        ),
        ema=EMAConfig(decays=(0.9999,)),
        train=TrainConfig(
            steps=10_000_000,
            batch_size=128,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(solver=DDPM("fixed_small"), steps=1000),
    )
    return debugged(recipe) if debug else recipe
