"""Text to image from scratch on captioned images, such as a folder of emoji.

    python train.py --config emoji_autoencoder --data.dir EMOJI
    python train.py --config emoji --data.dir EMOJI
    python sample.py --workdir runs/emoji --prompt "red heart" --num 16

EMOJI holds images with metadata.jsonl ({"file_name": ..., "text": ...}) or a .txt file beside each.
The model lives in the latents of the first run, computed once into runs/emoji_latents.npz: 32x32
images are 8x8 latents. Captions are read word by word by a small transformer that is trained along;
the U-Net looks at its states by cross-attention. One caption in ten is dropped, so that guidance
works. Skin tones are left out (files of Noto's names): they are half of the set and alike.
`pixels` needs no autoencoder and about twenty times the time; it reads captions byte by byte.
"""

from diffax.conditioning import Captions
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.losses import MinSNR, Stratified
from diffax.models import UNet
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.training import (
    Config,
    EMAConfig,
    Optimizer,
    TrainConfig,
    TrainedAutoencoder,
    unknown_variant,
)
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "pixels", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    return _latents() if variant == "" else _pixels(debug=variant == "debug")


def _latents() -> Config:
    return Config(
        data=ImageFolder(image_size=32, labels=False, captions=True, leave_out="_1f3f[b-f]"),
        objective=Denoising(
            network=UNet(
                channels=64,
                multipliers=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(4,),
                num_heads=4,
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
            weighting=MinSNR(),
            conditioner=Captions(length=12, width=128, depth=1, words=8192),
            codec=TrainedAutoencoder("runs/emoji_autoencoder", cache="runs/emoji_latents.npz"),
        ),
        optimizer=Optimizer(learning_rate=1e-3, warmup_steps=100, decay=CosineDecay()),
        ema=EMAConfig(decays=(0.995,)),
        train=TrainConfig(
            steps=4000,
            batch_size=32,
            steps_per_call=10,
            log_every=50,
            save_every=500,
            sample_every=1000,
        ),
        sample=Sampling(steps=25, num=16, guidance=3.0, clip=None),
    )


def _pixels(debug: bool) -> Config:
    return Config(
        data=ImageFolder(image_size=8 if debug else 32, labels=False, captions=True),
        objective=Denoising(
            network=UNet(
                channels=8 if debug else 64,
                multipliers=(1,) if debug else (1, 2, 2),
                num_res_blocks=1,
                attention_resolutions=() if debug else (16, 8),
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
            quick=debug,
            log_every=2 if debug else 50,
            save_every=8 if debug else 1000,
            sample_every=8 if debug else 1000,
            frames=8 if debug else 60,
        ),
        sample=Sampling(steps=5 if debug else 50, num=4 if debug else 64, quick=debug),
    )
