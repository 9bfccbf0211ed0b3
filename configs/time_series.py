"""Multivariate time series by the network of waveforms; gaps are filled by inpainting.

    python train.py --config time_series --data.dir series.csv
    python train.py --config time_series:oscillations

Windows of 128 moments of a .npy or .csv file, standardized channel by channel. What is missing in a
window is drawn with `generate(model, image=window, mask=missing)`. `oscillations` learns a Gaussian
process of which the best guess is known, in minutes on a CPU; benchmarks/imputation.py compares.
"""

from diffax.data import Oscillations, TimeSeries
from diffax.generation import Sampling
from diffax.losses import Stratified
from diffax.models import UNet1D
from diffax.objectives import Denoising
from diffax.parameterization import V
from diffax.schedules import Cosine
from diffax.solvers import DDPM
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "oscillations", "debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug = variant == "debug"
    return Config(
        data=TimeSeries() if not variant else Oscillations(num=64 if debug else 4096),
        objective=Denoising(
            network=UNet1D(
                channels=8 if debug else 32,
                multipliers=(1, 2),
                num_heads=2,
                patch=2,
            ),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
        ),
        optimizer=Optimizer(
            learning_rate=1e-3, warmup_steps=2 if debug else 100, decay=CosineDecay()
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.995,)),
        train=TrainConfig(
            steps=8 if debug else 1200,
            batch_size=8 if debug else 64,
            steps_per_call=2 if debug else 10,
            quick=debug,
            log_every=2 if debug else 50,
            save_every=4 if debug else 200,
            sample_every=4 if debug else 600,
        ),
        sample=Sampling(
            solver=DDPM("fixed_small"),
            steps=4 if debug else 100,
            num=4 if debug else 16,
            clip=None,
            quick=debug,
        ),
    )
