"""All weights of a published model's U-Net, trained further on captioned images.

    python train.py --config full_tuning --pretrained MODEL --data.dir IMAGES

MODEL is a diffusers folder of Stable Diffusion 1, 2 or XL; IMAGES holds images with metadata.jsonl
or a .txt file beside each. Less memory: --network.remat True, --method adafactor, fewer averages
(--ema.decays), --train.accumulate 4, several devices with --train.fsdp -1.
"""

from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.losses import MinSNR
from diffax.objectives import Denoising
from diffax.pretrained import published_parts
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=ImageFolder(image_size=16 if debug else 512, labels=False, captions=True),
        objective=Denoising(**published_parts(), weighting=MinSNR()),
        optimizer=Optimizer(
            method=AdamW(),
            learning_rate=1e-3 if debug else 1e-5,
            warmup_steps=1 if debug else 500,
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.9999,)),
        train=TrainConfig(
            steps=4 if debug else 15_000,
            batch_size=2 if debug else 16,
            quick=debug,
            log_every=2 if debug else 10,
            save_every=2 if debug else 1000,
            sample_every=0 if debug else 1000,
            images=not debug,
        ),
        sample=Sampling(
            steps=2 if debug else 30, guidance=7.5, clip=None, num=2 if debug else 4, quick=debug
        ),
    )
