"""Networks in Flax linen. They know no schedule and no loss.

Every model is called `model.apply(params, x, t, condition, train=...)` with `x` `[B, ...]`, times
`t` `[B]` and a condition that it documents.
"""

from diffax.models.mlp import PointMLP, StepMLP
from diffax.models.parameters import parameter_count
from diffax.models.unet import UNet

__all__ = ["PointMLP", "StepMLP", "UNet", "parameter_count"]
