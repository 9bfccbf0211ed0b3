"""Textual inversion: a published model stays as it is, and learns a new word from a few images.

    python train.py --config textual_inversion --pretrained MODEL --data.dir IMAGES
        --conditioner.initial cat --conditioner.vectors 4

(Gal et al. 2022.) Only the new token's vectors are learned; they start from the vector of a word
that means something near. The token is called <new> in texts: `sample.py --workdir DIR --prompt "a
drawing of <new>"`; another name is given to both --conditioner.token and --data.name.
"""

from diffax.adapters import Subset
from diffax.data import Concept
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.pretrained import TokenReader, published_parts
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug")

PROMPTS = (
    "a photo of {}",
    "a close-up photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a picture of one {}",
    "a good photo of the {}",
    "a drawing of {}",
    "{}",
)


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    reader = TokenReader(
        dropout=0.0, vectors=2 if debug else 1, initial="cat" if debug else "object"
    )
    return Config(
        data=Concept(image_size=16 if debug else 512, name="<new>", prompts=PROMPTS, flip=True),
        objective=Denoising(
            **published_parts() | {"conditioner": reader}, adapter=Subset("new_embedding")
        ),
        optimizer=Optimizer(method=AdamW(), learning_rate=1e-2 if debug else 5e-3, clip=None),
        ema=EMAConfig(decays=()),
        train=TrainConfig(
            steps=4 if debug else 3000,
            batch_size=2 if debug else 4,
            quick=debug,
            log_every=2 if debug else 10,
            save_every=2 if debug else 500,
            sample_every=0 if debug else 500,
            images=not debug,
        ),
        sample=Sampling(
            steps=2 if debug else 30, guidance=7.5, clip=None, num=2 if debug else 4, quick=debug
        ),
    )
