"""Text to image from scratch on captioned images, such as a folder of emoji.

    python train.py --config emoji --data.dir EMOJI
    python sample.py --workdir runs/emoji --prompt "a red heart" --guidance 3 --num 16

EMOJI holds images with metadata.jsonl ({"file_name": ..., "text": ...}) or a .txt file beside each.
32x32; captions are read byte by byte by a small transformer that is trained along, and the U-Net
looks at its states by cross-attention. One caption in ten is dropped, so that guidance works.
"""

from diffax.conditioning import Captions
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.losses import MinSNR, Stratified
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=ImageFolder(image_size=8 if debug else 32, labels=False, captions=True),
        objective=Denoising(
            network=UNet(
                channels=8 if debug else 64,
                multipliers=(1, 2) if debug else (1, 2, 2),
                num_res_blocks=1,
                attention_resolutions=(4,) if debug else (16, 8),
                num_heads=1 if debug else 4,
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
            weighting=MinSNR(),
            conditioner=Captions(
                length=16 if debug else 48, width=16 if debug else 128, depth=1 if debug else 2
            ),
        ),
        optimizer=Optimizer(learning_rate=5e-4, warmup_steps=2 if debug else 200),
        ema=EMAConfig(decays=(0.9 if debug else 0.999,)),
        train=TrainConfig(
            steps=8 if debug else 20_000,
            batch_size=4 if debug else 64,
            steps_per_call=2 if debug else 5,
            log_every=2 if debug else 50,
            save_every=4 if debug else 1000,
            sample_every=4 if debug else 1000,
        ),
        sample=Sampling(steps=5 if debug else 50, num=4 if debug else 64),
    )
