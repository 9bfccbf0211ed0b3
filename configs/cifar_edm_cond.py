"""EDM on CIFAR-10 with classes (Karras et al. 2022, table 7).

    python train.py --config cifar_edm_cond --data.dir DIR
    python sample.py --workdir runs/cifar_edm_cond --label 7

As `cifar_edm`, told the label of every image; none is dropped. Published: FID 1.79 in 35 calls.
"""

import dataclasses
from pathlib import Path

from diffax.conditioning import Labels
from diffax.training import Config, load_recipe

VARIANTS = ("", "debug", "ncsnpp")


def config(variant: str = "") -> Config:
    """The recipe; the variants are those of `cifar_edm`."""
    name = f"cifar_edm:{variant}" if variant else "cifar_edm"
    recipe = load_recipe(name, Path(__file__).parent).config
    objective = dataclasses.replace(recipe.objective, conditioner=Labels(dropout=0.0))
    data = dataclasses.replace(recipe.data, labels=True)
    return dataclasses.replace(recipe, data=data, objective=objective)
