"""Networks in Flax linen. They know no schedule and no loss.

Every denoising network is called `network.apply(params, x, t, condition, train=...)` with `x`
`[B, ...]`, times `t` `[B]` and a condition, a dict of arrays of which `network.reads` names those
that it knows; `{}` where there is none. All fields are plain data. What they are built of lies in
`diffax.models.blocks`.
"""

from diffax.models.autoencoder import AutoencoderKL, DiagonalGaussian, VQModel
from diffax.models.class_embedder import ClassEmbedder
from diffax.models.clip_text import CLIPTextModel, CLIPTextModelWithProjection, TextEncoding
from diffax.models.mlp import StepMLP, VectorMLP
from diffax.models.parameters import parameter_count
from diffax.models.unet import UNet
from diffax.models.unet_2d import UNet2DModel
from diffax.models.unet_condition import UNet2DConditionModel

__all__ = [
    "AutoencoderKL",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "ClassEmbedder",
    "DiagonalGaussian",
    "StepMLP",
    "TextEncoding",
    "UNet",
    "UNet2DConditionModel",
    "UNet2DModel",
    "VQModel",
    "VectorMLP",
    "parameter_count",
]
