"""Images made twice as large, from a folder of images; the second stage of a cascade.

    python train.py --config upscale --data.dir IMAGES
    python sample.py --workdir runs/upscale --low-res SMALL.png --out large.png
    python sample.py --workdir runs/emoji --prompt "red heart" --then runs/upscale

32x32 -> 64x64, or any other size once it is trained. The network corrects bicubic interpolation and
is asked for the clean image; the small images are noised in training, so that another model's do as
well. One image in twenty is held out: the summary compares with bicubic interpolation on those, and
upscaled.png shows small, bicubic, ours, original. `large` is 64x64 -> 256x256, for a GPU.
"""

from diffax.conditioning import LowRes
from diffax.data import ImageFolder
from diffax.evaluation import upscaling_report
from diffax.generation import Sampling
from diffax.losses import Stratified
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import X0
from diffax.schedules import Cosine
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "large", "debug")
summarize = upscaling_report


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, large = variant == "debug", variant == "large"
    return Config(
        data=ImageFolder(
            image_size=16 if debug else 256 if large else 64,
            labels=False,
            split="train",
            held_out=0.05,
        ),
        objective=Denoising(
            network=UNet(
                channels=8 if debug else 96 if large else 32,
                multipliers=(1, 2, 2, 4) if large else (1, 2),
                num_res_blocks=2 if large else 1,
                attention_resolutions=(),
                head_size=32 if large else None,
                corrects=True,
                patch=4 if large else 2,
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=X0(),
            times=Stratified(),
            conditioner=LowRes(factor=4 if large else 2, noise=0.2),
        ),
        optimizer=Optimizer(
            learning_rate=2e-4 if large else 1e-3,
            warmup_steps=2 if debug else 100,
            decay=CosineDecay(),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.999 if large else 0.99,)),
        train=TrainConfig(
            steps=8 if debug else 100_000 if large else 1000,
            batch_size=4 if debug else 32 if large else 16,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 200,
            sample_every=0,  # a grid of samples would need small images
            images=False,
        ),
        sample=Sampling(steps=4, num=4 if debug else 16, quick=debug),
    )
