"""The latents in which an emoji model lives: 32x32 images as 8x8 latents of eight channels.

    python train.py --config emoji_autoencoder --data.dir EMOJI
    python train.py --config emoji_autoencoder:codes --data.dir EMOJI

Captions are not needed. One image in twenty is held out; the summary has how well those come back,
and reconstructions.png shows some. `codes` learns a codebook instead of a posterior. An adversary,
for sharper copies at a lower PSNR: --adversary patch --adversary.start 2000.
"""

from diffax.data import ImageFolder
from diffax.evaluation import Evaluation, HeldOutLoss, reconstruction_report
from diffax.losses import KL, Codes, Gradients
from diffax.models import AutoencoderKL, VQModel
from diffax.objectives import Autoencoder
from diffax.training import Config, Cosine, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "codes", "debug", "codes_debug")
summarize = reconstruction_report


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, codes = variant.endswith("debug"), variant.startswith("codes")
    widths = (8, 8) if debug else (16, 32, 64)
    shape = dict(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=8,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )
    return Config(
        data=ImageFolder(image_size=8 if debug else 32, labels=False, split="train", held_out=0.05),
        objective=Autoencoder(
            autoencoder=VQModel(num_vq_embeddings=16 if debug else 1024, **shape)
            if codes
            else AutoencoderKL(**shape),
            regularizer=Codes() if codes else KL(),
            perceptual=Gradients(weight=0.5),
        ),
        optimizer=Optimizer(learning_rate=2e-3, warmup_steps=2 if debug else 100, decay=Cosine()),
        ema=EMAConfig(decays=(0.9 if debug else 0.99,)),
        train=TrainConfig(
            steps=8 if debug else 1500,
            batch_size=4 if debug else 32,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 500,
            sample_every=0,
        ),
        evaluation=Evaluation(
            every=4 if debug else 500, metrics=(HeldOutLoss(split="test", num=256),)
        ),
    )
