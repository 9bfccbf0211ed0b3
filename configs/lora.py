"""LoRA: a published model learns from captioned images by small corrections of its matrices.

    python train.py --config lora --pretrained MODEL --data.dir IMAGES
    python train.py --config lora:text --pretrained MODEL --data.dir IMAGES

(Hu et al. 2022.) MODEL is a diffusers folder of Stable Diffusion 1, 2 or XL; IMAGES holds images
with metadata.jsonl ({"file_name": ..., "text": ...}) or a .txt file beside each. Rank, strength and
layers: --adapter.rank 16 --adapter.alpha 16 --adapter.pattern "to_(k|v)/kernel$". `text` corrects
the text encoders, too; --adapter.pattern "(to_.*|conv.*)/kernel$" also convolutions.
"""

from diffax.adapters import LowRank
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.pretrained import PublishedReader, published_parts
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "text", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, text = variant == "debug", variant == "text"
    parts = published_parts() | {"conditioner": PublishedReader(trained=text)}
    return Config(
        data=ImageFolder(image_size=16 if debug else 512, labels=False, captions=True),
        objective=Denoising(**parts, adapter=LowRank(rank=2 if debug else 8)),
        optimizer=Optimizer(method=AdamW(), learning_rate=1e-2 if debug else 1e-4),
        ema=EMAConfig(decays=()),
        train=TrainConfig(
            steps=4 if debug else 2000,
            batch_size=2 if debug else 4,
            quick=debug,
            log_every=2 if debug else 10,
            save_every=2 if debug else 250,
            sample_every=0 if debug else 250,
            images=not debug,
        ),
        sample=Sampling(
            steps=2 if debug else 30, guidance=7.5, clip=None, num=2 if debug else 4, quick=debug
        ),
    )
