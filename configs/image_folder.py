"""Your own pictures: a folder of PNG, JPEG or WebP files, classes as sub-folders where there are.

    python train.py --config image_folder --data.dir PICTURES
    python train.py --config image_folder --data.dir PICTURES --data.image_size 32

64x64, v-prediction on the cosine schedule, guidance by label dropout where there are classes. On
one GPU a few thousand pictures take a night; on a CPU start with --data.image_size 32.
"""

from diffax.data import DataConfig
from diffax.models import UNet
from diffax.training import (
    Config,
    EMAConfig,
    LossConfig,
    OptimizerConfig,
    SampleConfig,
    ScheduleConfig,
    TrainConfig,
    unknown_variant,
)

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=DataConfig(name="image_folder", image_size=16 if debug else 64, flip=True),
        model=UNet(
            channels=16 if debug else 96,
            multipliers=(1, 2) if debug else (1, 2, 3, 4),
            num_res_blocks=1 if debug else 2,
            attention_resolutions=(8,) if debug else (16, 8),
            num_heads=None,
            head_size=None if debug else 32,
            dropout=0.1,
        ),
        schedule=ScheduleConfig(name="cosine", num_steps=1000),
        loss=LossConfig(parameterization="v", times="stratified", weighting="min_snr"),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=2e-4, warmup_steps=1 if debug else 1000
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.9995,)),
        train=TrainConfig(
            steps=8 if debug else 50_000,
            batch_size=4 if debug else 64,
            steps_per_call=2 if debug else 10,
            log_every=2 if debug else 50,
            save_every=4 if debug else 1000,
            sample_every=4 if debug else 1000,
        ),
        sample=SampleConfig(sampler="ddim", steps=5 if debug else 50, num=4 if debug else 64),
    )
