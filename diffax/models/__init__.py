"""Networks in Flax linen. They know no schedule and no loss.

Every denoising network is called `network.apply(params, x, t, condition, train=...)` with `x`
`[B, ...]`, times `t` `[B]` and a condition, a dict of arrays of which `network.reads` names those
that it knows; `{}` where there is none. Networks that judge, such as `FIDInception`, are called
with images and give `Features`. All fields are plain data. What they are built of lies in
`diffax.models.blocks`.
"""

from diffax.models.autoencoder import AutoencoderKL, DiagonalGaussian, VQModel
from diffax.models.bound import BoundModule
from diffax.models.class_embedder import ClassEmbedder
from diffax.models.classifier import SmallClassifier
from diffax.models.clip_text import CLIPTextModel, CLIPTextModelWithProjection, TextEncoding
from diffax.models.features import Features
from diffax.models.inception import FIDInception
from diffax.models.mlp import StepMLP, VectorMLP
from diffax.models.parameters import fingerprint, parameter_count
from diffax.models.resnet import CIFARResNet
from diffax.models.unet import UNet
from diffax.models.unet_2d import UNet2DModel
from diffax.models.unet_condition import UNet2DConditionModel

# Denoising networks, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "unet": UNet,
    "vector_mlp": VectorMLP,
    "step_mlp": StepMLP,
    "unet_2d": UNet2DModel,
    "unet_condition": UNet2DConditionModel,
}

__all__ = [
    "BY_NAME",
    "AutoencoderKL",
    "BoundModule",
    "CIFARResNet",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "ClassEmbedder",
    "DiagonalGaussian",
    "FIDInception",
    "Features",
    "SmallClassifier",
    "StepMLP",
    "TextEncoding",
    "UNet",
    "UNet2DConditionModel",
    "UNet2DModel",
    "VQModel",
    "VectorMLP",
    "fingerprint",
    "parameter_count",
]
