"""Images as discrete tokens: the codes of a vector-quantized autoencoder, unmasked bit by bit.

    python train.py --config emoji_autoencoder:codes --data.dir EMOJI
    python train.py --config emoji_tokens --data.dir EMOJI
    python sample.py --workdir runs/emoji_tokens --out emoji.png

The first run learns a book of 1,024 codes: 32x32 images are 8x8 of them, and are computed once into
runs/emoji_codes.npz. The second is the objective of `text` on these 64 tokens, a masked diffusion
transformer (as MaskGIT on VQ codes, Chang et al. 2022, with the exact bound of Sahoo et al. 2024).
The codes of another run: --codec.path runs/NAME, and another file for --codec.cache.
"""

from diffax.data import ImageFolder
from diffax.evaluation import Evaluation, TokenBits
from diffax.generation import Sampling
from diffax.models import TokenTransformer
from diffax.objectives import TokenDiffusion
from diffax.solvers import Ancestral
from diffax.training import (
    Config,
    EMAConfig,
    Optimizer,
    TrainConfig,
    TrainedCodes,
    unknown_variant,
)
from diffax.training import Cosine as CosineDecay
from diffax.training.optimizer import Muon

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=ImageFolder(image_size=8 if debug else 32, labels=False, split="train", held_out=0.05),
        objective=TokenDiffusion(
            network=TokenTransformer(
                features=16 if debug else 128,
                depth=1 if debug else 4,
                num_heads=2 if debug else 4,
                neighbours=1 if debug else 9,  # the eight around a code, in rows of eight
                learned_places=True,
            ),
            codec=TrainedCodes("runs/emoji_autoencoder_codes_debug")
            if debug
            else TrainedCodes("runs/emoji_autoencoder_codes", cache="runs/emoji_codes.npz"),
        ),
        optimizer=Optimizer(
            method=Muon(),
            learning_rate=2e-2,
            warmup_steps=2 if debug else 20,
            decay=CosineDecay(),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.98,)),
        train=TrainConfig(
            steps=8 if debug else 2000,
            batch_size=8 if debug else 64,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 400,
            sample_every=4 if debug else 400,
        ),
        sample=Sampling(
            solver=Ancestral(), steps=4 if debug else 64, clip=None, num=4 if debug else 64
        ),
        evaluation=Evaluation(
            every=4 if debug else 400,
            metrics=(TokenBits(num=8 if debug else 256, draws=1),),
        ),
    )
