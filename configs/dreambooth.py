"""DreamBooth: a published model learns one thing from a few images, and keeps what it knows.

    python train.py --config dreambooth --pretrained MODEL --data.dir IMAGES --data.name "sks dog"
        --data.class_dir runs/dogs --data.class_prompt "a photo of a dog"

(Ruiz et al. 2023.) IMAGES holds three to five images; the name is a rare word and the class. With a
class prompt the model first makes --data.class_images images of it, which are trained along so that
the class is not forgotten; whoever interrupts that continues with the same command. The whole U-Net
learns; --adapter low_rank learns a LoRA instead (then --learning_rate 1e-4), and
--conditioner.trained True the text encoders, too.
"""

from diffax.data import Concept
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.pretrained import PublishedReader, published_parts
from diffax.training import (
    AdamW,
    Config,
    EMAConfig,
    Optimizer,
    TrainConfig,
    make_class_images,
    unknown_variant,
)

VARIANTS = ("", "debug")

before = make_class_images


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    parts = published_parts() | {"conditioner": PublishedReader(dropout=0.0)}
    return Config(
        data=Concept(image_size=16 if debug else 512, class_images=3 if debug else 200),
        objective=Denoising(**parts),
        optimizer=Optimizer(method=AdamW(), learning_rate=1e-3 if debug else 5e-6),
        ema=EMAConfig(decays=()),
        train=TrainConfig(
            steps=4 if debug else 800,
            batch_size=2,
            quick=debug,
            log_every=2 if debug else 10,
            save_every=2 if debug else 200,
            sample_every=0 if debug else 200,
            images=not debug,
        ),
        sample=Sampling(
            steps=2 if debug else 50, guidance=7.5, clip=None, num=2 if debug else 4, quick=debug
        ),
    )
