"""Score-based SDEs on CIFAR-10 (Song et al. 2021): sub-VP, VP and VE in continuous time.

    python train.py --config cifar_score_sde --data.dir DIR
    python train.py --config cifar_score_sde:ve --data.dir DIR

Deep DDPM++ (8 residual blocks a level) for sub-VP and VP, deep NCSN++ for VE, 950,000 steps of 128
images. Published: FID 2.41 (sub-VP) and 2.20 (VE), and 2.99 bits a dimension (sub-VP). `likelihood`
is the sub-VP model with the weights under which the loss bounds the likelihood (Song et al. 2021b).
DIR holds CIFAR-10 as tensorflow-datasets prepares it.
"""

from diffax.data import TFDS, Digits
from diffax.generation import Sampling
from diffax.losses import Constant, Likelihood, Uniform
from diffax.models import SongUNet
from diffax.objectives import Denoising
from diffax.parameterization import Eps
from diffax.schedules import VE, VP, SubVP
from diffax.solvers import PredictorCorrector
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, debugged, unknown_variant

VARIANTS = ("", "debug", "vp", "ve", "likelihood")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, ve = variant == "debug", variant == "ve"
    sizes = dict(channels=8, multipliers=(1,), num_res_blocks=1)
    if not debug:
        sizes = dict(channels=128, multipliers=(1, 2, 2, 2), num_res_blocks=8)
    if ve:  # log sigma = log(0.01) + 8.5 t
        network = SongUNet.ncsnpp(dropout=0.1, time_scale=8.5, **sizes)
    else:
        network = SongUNet(dropout=0.1, time_scale=999.0, **sizes)
    recipe = Config(
        data=Digits() if debug else TFDS("cifar10", split="train", labels=False, flip=True),
        objective=Denoising(
            network=network,
            schedule={"vp": VP(), "ve": VE()}.get(variant, SubVP()),
            parameterization=Eps(),
            times=Uniform(),
            weighting=Likelihood() if variant in ("likelihood", "debug") else Constant(),
        ),
        optimizer=Optimizer(learning_rate=2e-4, clip=1.0, warmup_steps=5000),
        ema=EMAConfig(decays=(0.999 if ve else 0.9999,)),
        train=TrainConfig(
            steps=950_000,
            batch_size=128,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(
            solver=PredictorCorrector(snr=0.16, corrections=1 if ve else 0), steps=1000
        ),
    )
    return debugged(recipe) if debug else recipe
