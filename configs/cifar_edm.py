"""EDM on CIFAR-10 (Karras et al. 2022, table 7), without classes, on the DDPM++ network.

    python train.py --config cifar_edm --data.dir DIR

Preconditioning, log-normal noise levels, Adam at 1e-3 after a ramp of 10 million images, an average
with a half-life of 0.5 million images, 200 million images in batches of 512; sampled by Heun's
method in 35 calls. Published: FID 1.97. 55,732,739 parameters. Mirrored images take the place of
the paper's non-leaking augmentation, and `ncsnpp` is its other network. DIR holds CIFAR-10 as
tensorflow-datasets prepares it.
"""

from diffax.data import TFDS, Digits
from diffax.generation import Sampling
from diffax.losses import LogNormal
from diffax.models import SongUNet
from diffax.objectives import Denoising
from diffax.parameterization import EDM as Preconditioned
from diffax.schedules import EDM
from diffax.solvers import Heun
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, debugged, unknown_variant

VARIANTS = ("", "debug", "ncsnpp")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    sizes = dict(channels=8, multipliers=(1,), num_res_blocks=1) if debug else {}
    make = SongUNet.ncsnpp if variant == "ncsnpp" else SongUNet
    recipe = Config(
        data=Digits() if debug else TFDS("cifar10", split="train", labels=False, flip=True),
        objective=Denoising(
            network=make(dropout=0.13, **sizes),
            schedule=EDM(sigma_min=0.002, sigma_max=80.0),
            parameterization=Preconditioned(sigma_data=0.5),
            times=LogNormal(mean=-1.2, std=1.2),
        ),
        optimizer=Optimizer(learning_rate=1e-3, warmup_images=10_000_000, clip=None),
        ema=EMAConfig(decays=(), half_lives=(500_000.0,), ramp=0.05),
        train=TrainConfig(
            steps=200_000_000 // 512,
            batch_size=512,
            steps_per_call=10,
            save_every=5000,
            sample_every=5000,
        ),
        sample=Sampling(solver=Heun(), steps=18, spacing="karras", clip=None),
    )
    return debugged(recipe) if debug else recipe
