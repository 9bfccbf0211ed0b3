"""The field's well-known tutorial of a class-conditional DDPM on 64x64 images, to the letter.

    python train.py --config ddpm_conditional --data.dir IMAGES
    python train.py --config ddpm_conditional:cifar --data.dir DIR
    python sample.py --workdir runs/ddpm_conditional --label 6 --guidance 3

DDPM's linear schedule, the tutorial's U-Net, AdamW at 3e-4, batches of 14, labels dropped one time
in ten (here image by image), an average of 0.995 that copies until step 2,000, and guidance 3 by
interpolation. IMAGES holds a folder for each class, resized to 64 with random crops. `cifar` takes
CIFAR-10 as tensorflow-datasets prepares it, and `unconditional` is the tutorial before it: no
labels, batches of 12. 23,335,299 parameters with ten classes, 23,332,739 without.
"""

from diffax.conditioning import Labels, Nothing
from diffax.data import TFDS, Digits, ImageFolder
from diffax.generation import Sampling
from diffax.losses import Uniform
from diffax.models import TutorialUNet
from diffax.objectives import Denoising
from diffax.parameterization import Eps
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

VARIANTS = ("", "debug", "cifar", "unconditional")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, labels = variant == "debug", variant != "unconditional"
    crop = dict(image_size=64, random_crop=0.1, labels=labels)
    data = {"debug": Digits(), "cifar": TFDS("cifar10", split="train", **crop)}
    recipe = Config(
        data=data.get(variant, ImageFolder(**crop)),
        objective=Denoising(
            network=TutorialUNet(channels=8, time_size=16) if debug else TutorialUNet(),
            schedule=Linear(num_steps=1000, beta_start=1e-4, beta_end=0.02),
            parameterization=Eps(),
            times=Uniform(),
            conditioner=Labels(dropout=0.1) if labels else Nothing(),
        ),
        optimizer=Optimizer(method=AdamW(weight_decay=0.01), learning_rate=3e-4, clip=None),
        ema=EMAConfig(decays=(0.995,), warmup=False, copy_until=2 if debug else 2000),
        train=TrainConfig(
            steps=1_000_000,
            batch_size=14 if labels else 12,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(
            solver=DDPM("fixed_large"),
            steps=1000,
            guidance=3.0 if labels else None,
            clip=None,
            num=10,
        ),
    )
    return debugged(recipe) if debug else recipe
