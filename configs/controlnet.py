"""ControlNet: a copy of a U-Net's encoder learns to follow a second image.

    python train.py --config controlnet --pretrained MODEL --data.dir IMAGES
    python train.py --config controlnet --pretrained MODEL --data.dir IMAGES --data.control DEPTHS

(Zhang et al. 2023.) IMAGES holds images with metadata.jsonl or a .txt file beside each, DEPTHS an
image of the same name for each of them. Without one the control is the image's edges by Canny (`pip
install 'diffax[edges]'`). The U-Net stays as it is; half of the captions are dropped, so that the
image alone says enough. --network.start CONTROLNET goes on from a published one. MODEL may also be
a run of ours whose network is a unet; images then get its size:

    python train.py --config controlnet --pretrained runs/emoji --data.dir EMOJI
        --learning_rate 1e-3 --train.batch_size 32 --train.steps 600
"""

from diffax.adapters import Subset
from diffax.data import ImageFolder
from diffax.generation import Sampling
from diffax.objectives import Denoising
from diffax.pretrained import ControlReader, NewControl, published_parts
from diffax.training import AdamW, Config, EMAConfig, Optimizer, TrainConfig, unknown_variant

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    parts = published_parts() | {
        "network": NewControl(widths=(8, 16) if debug else (16, 32, 96, 256)),
        "conditioner": ControlReader(dropout=0.5),
    }
    return Config(
        data=ImageFolder(
            image_size=16 if debug else 512, labels=False, captions=True, control="canny"
        ),
        objective=Denoising(**parts, adapter=Subset("/controls_0/")),
        optimizer=Optimizer(method=AdamW(), learning_rate=1e-3 if debug else 1e-5),
        ema=EMAConfig(decays=()),
        train=TrainConfig(
            steps=4 if debug else 15_000,
            batch_size=2 if debug else 4,
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
