"""InstructPix2Pix: a published model learns to change an image as an instruction says.

    python train.py --config instruct --pretrained MODEL --data.dir AFTER --data.control BEFORE

(Brooks et al. 2023.) AFTER holds the images after the edit with an instruction each (metadata.jsonl
or .txt files), BEFORE those before it, under the same names. The U-Net is shown the latents of the
image before beside its own; what reads them starts at zero. Text and image are dropped one time in
ten each, so that both can be guided: `sample.py --workdir runs/instruct --init-image F --prompt
"make it night"`.
"""

from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.pretrained import EditingNetwork, EditReader, published_parts
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    parts = published_parts() | {"network": EditingNetwork(), "conditioner": EditReader()}
    return Config(
        data=ImageFolder(image_size=16 if debug else 256, labels=False, captions=True),
        objective=Denoising(**parts),
        optimizer=Optimizer(
            method=AdamW(), learning_rate=1e-3 if debug else 5e-5, warmup_steps=1 if debug else 500
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.9999,)),
        train=TrainConfig(
            steps=4 if debug else 15_000,
            batch_size=2 if debug else 16,
            quick=debug,
            log_every=2 if debug else 10,
            save_every=2 if debug else 1000,
            sample_every=0,
            images=False,
        ),
        sample=Sampling(
            steps=2 if debug else 30, guidance=7.5, clip=None, num=2 if debug else 4, quick=debug
        ),
    )
