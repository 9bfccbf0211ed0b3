"""DiT-XL/2 on latents of ImageNet 256x256 (Peebles & Xie 2023).

    python train.py --config imagenet256_dit --data.dir IMAGES --objective.codec.path VAE
    python sample.py --workdir runs/imagenet256_dit --label 207 --guidance 1.5

VAE is the folder of an autoencoder as Stable Diffusion's (sd-vae-ft-ema). DDPM's linear schedule,
learned variances, labels dropped one time in ten, AdamW at 1e-4 without decay, 7 million steps of
256 images. Published: FID 2.27 with guidance 1.5 and 250 steps. 674,834,720 parameters. IMAGES
holds a folder for each class.
"""

from diffax.conditioning import Labels
from diffax.data import Digits, ImageFolder
from diffax.generation import Sampling
from diffax.losses import LearnedVariance, Uniform
from diffax.models import DiT
from diffax.objectives import Denoising
from diffax.parameterization import Eps
from diffax.pretrained import PublishedAutoencoder
from diffax.schedules import Linear
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
    """The recipe; `debug` is on the pixels of digits, without an autoencoder."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    sizes = dict(features=16, depth=1, num_heads=2)
    recipe = Config(
        data=Digits() if debug else ImageFolder(image_size=256, flip=True),
        objective=Denoising(
            network=DiT(**sizes) if debug else DiT.of_size("XL", patch_size=2),
            schedule=Linear(num_steps=1000, beta_start=1e-4, beta_end=0.02),
            parameterization=Eps(),
            times=Uniform(),
            variance=LearnedVariance(kind="learned_range", weight=0.001),
            conditioner=Labels(dropout=0.1),
            codec=None if debug else PublishedAutoencoder(),
        ),
        optimizer=Optimizer(method=AdamW(weight_decay=0.0), learning_rate=1e-4, clip=None),
        ema=EMAConfig(decays=(0.9999,), warmup=False),
        train=TrainConfig(
            steps=7_000_000,
            batch_size=256,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(solver=DDPM("learned_range"), steps=250, guidance=1.5, clip=None, num=16),
    )
    return debugged(recipe) if debug else recipe
