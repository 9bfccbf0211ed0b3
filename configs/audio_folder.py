"""Sound like that of a folder: a U-Net over time on pieces of one second.

    python train.py --config audio_folder --data.dir SOUNDS
    python sample.py --workdir runs/audio_folder --num 8 --out sounds.wav

SOUNDS holds .wav and .flac files; sub-folders are classes, which are then asked for by --label.
16,384 samples at 16,000 a second, all files resampled to that and equally loud. For a GPU; not
measured.
"""

from diffax.data import AudioFolder
from diffax.generation import Sampling
from diffax.losses import Stratified
from diffax.models import UNet1D
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.solvers import DDIM
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    sizes = dict(channels=8, multipliers=(1, 2), patch=8) if debug else {}
    return Config(
        data=AudioFolder(length=512 if debug else 16_384, rate=4000 if debug else 16_000),
        objective=Denoising(
            network=UNet1D(
                **dict(channels=128, multipliers=(1, 2, 2, 2), num_res_blocks=2, patch=16) | sizes
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
        ),
        optimizer=Optimizer(
            learning_rate=1e-3 if debug else 2e-4,
            warmup_steps=2 if debug else 1000,
            decay=CosineDecay(),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.9999,)),
        train=TrainConfig(
            steps=8 if debug else 200_000,
            batch_size=4 if debug else 32,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 100,
            save_every=4 if debug else 5000,
            sample_every=4 if debug else 5000,
        ),
        sample=Sampling(
            solver=DDIM(eta=0.0), steps=4 if debug else 100, num=4, clip=None, quick=debug
        ),
    )
