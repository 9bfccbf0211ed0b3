"""Your own images: a folder of PNG, JPEG or WebP files, classes as sub-folders where there are.

    python train.py --config image_folder --data.dir IMAGES
    python train.py --config image_folder --data.dir IMAGES --data.image_size 32
    python train.py --config image_folder:captions --data.dir IMAGES

64x64, v-prediction on the cosine schedule, guidance by label dropout where there are classes.
`captions` reads a text for each image, from metadata.jsonl or .txt files beside the images, byte by
byte; sample it with `sample.py --workdir runs/image_folder_captions --prompt "..."`. On one GPU a
few thousand images take a night; on a CPU start with --data.image_size 32.
"""

from diffax.conditioning import Captions
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.losses import MinSNR, Stratified
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug", "captions")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, captions = variant == "debug", variant == "captions"
    return Config(
        data=ImageFolder(image_size=16 if debug else 64, flip=not captions, captions=captions),
        objective=Denoising(
            network=UNet(
                channels=16 if debug else 96,
                multipliers=(1, 2) if debug else (1, 2, 3, 4),
                num_res_blocks=1 if debug else 2,
                attention_resolutions=(8,) if debug else (16, 8),
                num_heads=None,
                head_size=None if debug else 32,
                dropout=0.1,
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
            weighting=MinSNR(),
            conditioner=Captions() if captions else None,
        ),
        optimizer=Optimizer(
            method=AdamW(weight_decay=0.0),
            learning_rate=2e-4,
            warmup_steps=1 if debug else 1000,
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.9995,)),
        train=TrainConfig(
            steps=8 if debug else 50_000,
            batch_size=4 if debug else 64,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=8 if debug else 1000,
            sample_every=8 if debug else 1000,
            frames=8 if debug else 60,
        ),
        sample=Sampling(steps=5 if debug else 50, num=4 if debug else 64, quick=debug),
    )
