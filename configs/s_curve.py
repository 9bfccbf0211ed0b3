"""The S-curve, learned by a small residual MLP: diffusion in a minute.

    python train.py --config s_curve
    python train.py --config s_curve:tutorial

The default recipe predicts v on a cosine schedule that ends in noise. 10,000 of its samples are as
far from fresh data (sliced 2-Wasserstein distance) as two draws of the data are from each other.

`tutorial` is the field's well-known S-curve tutorial to the letter: T = 100, sigmoid betas up to
5e-3, an MLP with one learned embedding a step, antithetic times. Its schedule keeps 78 % of the
signal's power at the last step and samples from N(0, I) nevertheless, so it comes out blurred.
"""

from diffax.data import DataConfig, toy
from diffax.evaluation import sliced_wasserstein
from diffax.models import StepMLP, VectorMLP
from diffax.training import (
    Config,
    EMAConfig,
    LossConfig,
    OptimizerConfig,
    Run,
    SampleConfig,
    ScheduleConfig,
    TrainConfig,
    unknown_variant,
)

VARIANTS = ("", "debug", "tutorial")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    if variant == "tutorial":
        return Config(
            data=DataConfig(name="s_curve", points=10_000, noise=0.1, divisor=10.0),
            model=StepMLP(num_steps=100, features=128),
            schedule=ScheduleConfig(
                name="sigmoid_beta", num_steps=100, beta_start=1e-5, beta_end=5e-3
            ),
            loss=LossConfig(parameterization="eps", times="antithetic"),
            optimizer=OptimizerConfig(name="adam", learning_rate=1e-3, clip=1.0),
            ema=EMAConfig(decays=(0.9999,)),
            train=TrainConfig(
                steps=20_000,
                batch_size=128,
                steps_per_call=500,
                log_every=500,
                save_every=5000,
                sample_every=5000,
            ),
            sample=SampleConfig(
                sampler="ddpm",
                steps=100,
                variance="fixed_large",
                clip=None,
                num=2000,
                batch_size=10_000,
            ),
        )
    debug = variant == "debug"
    return Config(
        data=DataConfig(name="s_curve", points=0),
        model=VectorMLP(features=32 if debug else 128, num_blocks=1 if debug else 3),
        schedule=ScheduleConfig(name="cosine", num_steps=1000),
        loss=LossConfig(parameterization="v", times="stratified"),
        optimizer=OptimizerConfig(name="adam", learning_rate=2e-3, decay="cosine"),
        ema=EMAConfig(decays=(0.999,)),
        train=TrainConfig(
            steps=40 if debug else 6000,
            batch_size=64 if debug else 512,
            steps_per_call=10 if debug else 100,
            log_every=10 if debug else 100,
            save_every=20 if debug else 2000,
            sample_every=20 if debug else 2000,
        ),
        sample=SampleConfig(
            sampler="ddpm",
            steps=10 if debug else 200,
            variance="fixed_small",
            clip=None,
            num=500 if debug else 2000,
            batch_size=10_000,
        ),
    )


def summarize(run: Run) -> dict[str, float]:
    """Distance of 10,000 samples to fresh data, and of the fresh data to another fresh draw."""
    noise = run.config.data.noise
    fresh, other = (toy.draw("s_curve", 10_000, seed, noise)[0] for seed in (2**31 + 1, 2**31 + 2))
    samples = run.facts.coordinates(run.sample(10_000).x)
    return {
        "sliced_wasserstein": sliced_wasserstein(samples, fresh),
        "sliced_wasserstein_of_real_data": sliced_wasserstein(other, fresh),
    }
