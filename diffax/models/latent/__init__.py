"""The networks of the published latent-diffusion models, driven by their `config.json` fields."""

from diffax.models.latent.autoencoder import AutoencoderKL, DiagonalGaussian, VQModel
from diffax.models.latent.class_embedder import ClassEmbedder
from diffax.models.latent.clip_text import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    TextEncoding,
)
from diffax.models.latent.unet import UNet2DModel
from diffax.models.latent.unet_condition import UNet2DConditionModel

__all__ = [
    "AutoencoderKL",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "ClassEmbedder",
    "DiagonalGaussian",
    "TextEncoding",
    "UNet2DConditionModel",
    "UNet2DModel",
    "VQModel",
]
