"""Text, character by character: a masked diffusion transformer, in minutes on a CPU.

    python train.py --config text
    python train.py --config text --data.file book.txt
    python sample.py --workdir runs/text --num 4 --out samples.txt
    python sample.py --workdir runs/text --prefix "The " --suffix " is an error." --out middle.txt
    python evaluate.py --workdir runs/text

Without a file it learns Python's language reference, whose last tenth is held out. Tokens become
masks, and the network, which sees all of a window, learns what stood there, by the exact bound on
the likelihood (Sahoo et al. 2024; Shi et al. 2024). With `text:uniform` noise is other characters.
"""

from diffax.data import TextFile
from diffax.evaluation import Evaluation, TokenBits
from diffax.generation import Sampling
from diffax.models import TokenTransformer
from diffax.objectives import TokenDiffusion
from diffax.solvers import Ancestral
from diffax.training import Config, EMAConfig, Optimizer, TrainConfig, unknown_variant
from diffax.training import Cosine as CosineDecay
from diffax.training.optimizer import Muon

VARIANTS = ("", "uniform", "debug", "uniform-debug")


def config(variant: str = "") -> Config:
    """The recipe."""
    if variant not in VARIANTS:
        raise unknown_variant(variant, list(VARIANTS))
    debug, uniform = "debug" in variant, "uniform" in variant
    return Config(
        data=TextFile(length=16 if debug else 128),
        objective=TokenDiffusion(
            network=TokenTransformer(
                features=16 if debug else 128,
                depth=1 if debug else 3,
                num_heads=2 if debug else 4,
                neighbours=1 if debug else 4,
                timed=uniform,
            ),
            process="uniform" if uniform else "absorbing",
        ),
        optimizer=Optimizer(
            method=Muon(),
            learning_rate=3e-2,
            warmup_steps=2 if debug else 20,
            decay=CosineDecay(),
        ),
        ema=EMAConfig(decays=(0.9 if debug else 0.98,)),
        train=TrainConfig(
            steps=20 if debug else 2400,
            batch_size=8 if debug else 16,
            steps_per_call=5 if debug else 10,
            quick=debug,
            log_every=5 if debug else 50,
            save_every=10 if debug else 400,
            sample_every=10 if debug else 400,
        ),
        sample=Sampling(
            solver=Ancestral(),
            steps=8 if debug else 128,
            clip=None,
            num=4 if debug else 8,
            quick=debug,
        ),
        evaluation=Evaluation(
            every=10 if debug else 400,
            metrics=(TokenBits(num=8 if debug else 256, draws=1 if debug else 2),),
        ),
    )
