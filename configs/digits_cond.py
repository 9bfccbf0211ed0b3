"""Handwritten digits by class, with classifier-free guidance (Ho & Salimans 2022).

    python train.py --config digits_cond
    python sample.py --workdir runs/digits_cond --label 7 --guidance 2 --out sevens.png

The recipe `digits` with more training, sampled with guidance 2: the summary says how many of 1,000
digits are read as the class that was asked for, and how varied they are within it.
"""

import dataclasses
from dataclasses import asdict
from pathlib import Path

from diffax.evaluation import digit_obedience
from diffax.generation import generate
from diffax.training import Config, Run, load_recipe

VARIANTS = ("", "debug")


def config(variant: str = "") -> Config:
    """The recipe; the variants are those of `digits`."""
    name = f"digits:{variant}" if variant else "digits"
    recipe = load_recipe(name, Path(__file__).parent).config
    steps = recipe.train.steps if variant else 2000
    return dataclasses.replace(
        recipe,
        train=dataclasses.replace(recipe.train, steps=steps),
        sample=dataclasses.replace(recipe.sample, guidance=2.0),
    )


def summarize(run: Run) -> dict[str, float]:
    """Figures of 1,000 samples, a hundred of each class: see `DigitObedience`."""
    samples = generate(run.model, num=1000)
    return asdict(digit_obedience(samples.images, samples.label))
