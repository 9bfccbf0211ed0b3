"""The S-curve, learned by a small residual MLP: diffusion in a minute.

    python train.py --config s_curve
    python train.py --config s_curve:tutorial

The default recipe predicts v on a cosine schedule that ends in noise. 10,000 of its samples are as
far from fresh data (sliced 2-Wasserstein distance) as two draws of the data are from each other.

`tutorial` is the field's well-known S-curve tutorial to the letter: T = 100, sigmoid betas up to
5e-3, an MLP with one learned embedding a step, antithetic times, 4,000 epochs of 79 batches of 128
(the last of an epoch is filled up from the next one), Adam at 1e-3, no averages, noise of beta_0 in
the last step, strips at 0, 5, ..., 95 and animations of 100 frames. Its schedule keeps 78 % of the
signal's power at the last step and samples from N(0, I) nevertheless, so it comes out blurred.
"""

from collections.abc import Mapping

from diffax.codecs import Standardize
from diffax.data import Toy
from diffax.evaluation import SlicedWasserstein, Watched, measure
from diffax.generation import Sampling
from diffax.losses import Antithetic, Stratified
from diffax.models import StepMLP, VectorMLP
from diffax.objectives import Denoising
from diffax.parameterization import Eps, V
from diffax.schedules import Cosine, SigmoidBeta
from diffax.solvers import DDPM
from diffax.training import Config, EMAConfig, Optimizer, Run, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay

VARIANTS = ("", "debug", "tutorial")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    if variant == "tutorial":
        return Config(
            data=Toy("s_curve", num=10_000, noise=0.1),
            objective=Denoising(
                network=StepMLP(num_steps=100, features=128),
                schedule=SigmoidBeta(num_steps=100, beta_start=1e-5, beta_end=5e-3),
                parameterization=Eps(),
                times=Antithetic(),
                codec=Standardize(mean=0.0, std=10.0),
            ),
            optimizer=Optimizer(learning_rate=1e-3, clip=1.0),
            ema=EMAConfig(decays=()),
            train=TrainConfig(
                steps=4000 * 79,
                batch_size=128,
                steps_per_call=79 * 10,
                log_every=79 * 10,
                save_every=79 * 400,
                sample_every=79 * 400,
                frames=100,
                strip_times=tuple(range(0, 100, 5)),
            ),
            sample=Sampling(
                solver=DDPM("fixed_large", last_noise=True),
                steps=100,
                clip=None,
                num=10_000,
                batch_size=10_000,
            ),
        )
    debug = variant == "debug"
    return Config(
        data=Toy("s_curve", num=0),
        objective=Denoising(
            network=VectorMLP(features=32 if debug else 128, num_blocks=1 if debug else 3),
            schedule=Cosine(num_steps=1000),
            parameterization=V(),
            times=Stratified(),
        ),
        optimizer=Optimizer(learning_rate=2e-3, decay=CosineDecay()),
        ema=EMAConfig(decays=(0.999,)),
        train=TrainConfig(
            steps=40 if debug else 6000,
            batch_size=64 if debug else 512,
            steps_per_call=10 if debug else 100,
            quick=debug,
            log_every=10 if debug else 100,
            save_every=40 if debug else 2000,
            sample_every=40 if debug else 2000,
            frames=8 if debug else 60,
        ),
        sample=Sampling(
            solver=DDPM("fixed_small"),
            steps=10 if debug else 200,
            clip=None,
            num=500 if debug else 2000,
            batch_size=10_000,
            quick=debug,
        ),
    )


def summarize(run: Run) -> Mapping[str, float]:
    """Distance of 10,000 samples to a fresh draw, and of other data to it, as evaluate.py's."""
    return measure(SlicedWasserstein(), Watched(run.model, run.config.data, None, None)).figures
