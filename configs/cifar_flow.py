"""Flow matching on CIFAR-10 (Lipman et al. 2023), with the settings of Meta's flow_matching.

    python train.py --config cifar_flow --data.dir DIR
    python train.py --config cifar_flow:coupled --data.dir DIR

The straight path and its velocity; times with log(sigma / alpha) ~ N(-1.2, 1.2); 50 network calls
on EDM's grid. Published: FID 2.07 after 1,800 epochs. `coupled` pairs noise and images within each
batch by optimal transport (Pooladian et al. 2023) and draws times uniformly. DIR holds CIFAR-10 as
tensorflow-datasets prepares it.
"""

from diffax.data import TFDS, Digits
from diffax.generation import Sampling
from diffax.losses import LogNormal, Uniform
from diffax.models import ADM
from diffax.objectives import Denoising, Independent, OptimalTransport
from diffax.parameterization import Velocity
from diffax.schedules import RectifiedFlow
from diffax.solvers import Heun
from diffax.training import (
    Adam,
    Config,
    EMAConfig,
    Optimizer,
    TrainConfig,
    debugged,
    unknown_variant,
)

VARIANTS = ("", "debug", "coupled")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, coupled = variant == "debug", variant == "coupled"
    recipe = Config(
        data=Digits() if debug else TFDS("cifar10", split="train", labels=False, flip=True),
        objective=Denoising(
            network=ADM(
                channels=8 if debug else 128,
                multipliers=(1,) if debug else (2, 2, 2),
                num_res_blocks=1 if debug else 4,
                attention_resolutions=() if debug else (16,),
                num_heads=1,
                dropout=0.3,
                resample="conv",
            ),
            schedule=RectifiedFlow(),
            parameterization=Velocity(),
            times=Uniform() if coupled else LogNormal(mean=-1.2, std=1.2),
            coupling=OptimalTransport() if coupled or debug else Independent(),
        ),
        optimizer=Optimizer(method=Adam(b2=0.95), learning_rate=1e-4, clip=None),
        ema=EMAConfig(decays=(0.999,)),
        train=TrainConfig(
            steps=1800 * 50_000 // 512,
            batch_size=512,
            steps_per_call=10,
            save_every=10_000,
            sample_every=10_000,
        ),
        sample=Sampling(solver=Heun(space="straight"), steps=25, spacing="karras"),
    )
    return debugged(recipe) if debug else recipe
