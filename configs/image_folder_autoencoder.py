"""An autoencoder of your own images: a folder of PNG, JPEG or WebP files, as 8x smaller latents.

    python train.py --config image_folder_autoencoder --data.dir IMAGES
    python train.py --config image_folder_autoencoder --data.dir IMAGES \
        --perceptual lpips --perceptual.path vgg16.pth --perceptual.heads vgg.pth
    python train.py --config image_folder --data.dir IMAGES --codec run \
        --codec.path runs/image_folder_autoencoder --codec.cache latents.npz

Latent diffusion's autoencoder at a quarter of its width (Rombach et al. 2022): 128x128 images as
16x16 latents of four channels, with a discriminator of patches from step 10,000 on. Without weights
of a perceptual network, image gradients on three scales stand for it. `codes`: a codebook of 1,024
codes. Captions are not needed. A night on one GPU; on a CPU see emoji_autoencoder.
"""

from diffax.data import ImageFolder
from diffax.evaluation import Evaluation, HeldOutLoss, reconstruction_report
from diffax.losses import KL, Codes, Gradients
from diffax.models import AutoencoderKL, VQModel
from diffax.objectives import Adversary, Autoencoder
from diffax.training import Adam, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Group as OptimizerGroup

VARIANTS = ("", "codes", "debug")
summarize = reconstruction_report


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, codes = variant == "debug", variant == "codes"
    widths = (8, 8) if debug else (32, 64, 128, 128)
    shape = dict(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1 if debug else 2,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=not debug,
    )
    rate = 1e-4
    return Config(
        data=ImageFolder(
            image_size=16 if debug else 128, labels=False, split="train", held_out=0.05
        ),
        objective=Autoencoder(
            autoencoder=VQModel(num_vq_embeddings=1024, **shape)
            if codes
            else AutoencoderKL(**shape),
            regularizer=Codes() if codes else KL(),
            perceptual=Gradients(),
            adversary=Adversary(
                start=4 if debug else 10_000,
                channels=8 if debug else 64,
                layers=1 if debug else 3,
            ),
        ),
        optimizer=Optimizer(
            method=Adam(b1=0.5, b2=0.9),
            learning_rate=rate,
            warmup_steps=2 if debug else 1000,
            groups=(OptimizerGroup("^discriminator/", rate, Adam(b1=0.5, b2=0.9)),),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.999,)),
        train=TrainConfig(
            steps=8 if debug else 100_000,
            batch_size=4 if debug else 32,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 2000,
            sample_every=0,
        ),
        evaluation=Evaluation(
            every=4 if debug else 2000, metrics=(HeldOutLoss(split="test", num=256),)
        ),
    )
