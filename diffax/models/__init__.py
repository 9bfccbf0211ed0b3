"""Networks in Flax linen. They know no schedule and no loss.

Every denoising network is called `network.apply(params, x, t, condition, train=...)` with `x`
`[B, ...]`, times `t` `[B]` and a condition, a dict of arrays of which `network.reads` names those
that it knows; `{}` where there is none. Networks that judge, such as `FIDInception`, are called
with images and give `Features`. All fields are plain data. What they are built of lies in
`diffax.models.blocks`.
"""

from diffax.models.adm import ADM
from diffax.models.autoencoder import AutoencoderKL, DiagonalGaussian, VQModel
from diffax.models.bound import BoundModule
from diffax.models.class_embedder import ClassEmbedder
from diffax.models.classifier import SmallClassifier
from diffax.models.clip_text import CLIPTextModel, CLIPTextModelWithProjection, TextEncoding
from diffax.models.clip_vision import CLIPVisionModel, CLIPVisionModelWithProjection, ImageEncoding
from diffax.models.controlnet import ControlledUNet, ControlNetModel, controlled
from diffax.models.dequantizer import Dequantizer
from diffax.models.diffwave import DiffWave
from diffax.models.discriminator import PatchDiscriminator
from diffax.models.dit import DiT
from diffax.models.edm2_unet import EDM2UNet
from diffax.models.features import Features
from diffax.models.functional import Functions, NNXNetwork
from diffax.models.inception import FIDInception
from diffax.models.mlp import StepMLP, VectorMLP
from diffax.models.noisy_classifier import NoisyClassifier
from diffax.models.parameters import fingerprint, parameter_count
from diffax.models.quick_init import init
from diffax.models.resnet import CIFARResNet
from diffax.models.song_unet import SongUNet
from diffax.models.t2i_adapter import T2IAdapter
from diffax.models.token_transformer import TokenTransformer
from diffax.models.tutorial_unet import TutorialUNet
from diffax.models.unet import UNet
from diffax.models.unet_1d import UNet1D
from diffax.models.unet_2d import UNet2DModel
from diffax.models.unet_condition import UNet2DConditionModel
from diffax.models.unet_control import UNetControl

# Denoising networks, by their names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "unet": UNet,
    "song_unet": SongUNet,
    "edm2_unet": EDM2UNet,
    "adm": ADM,
    "dit": DiT,
    "tutorial_unet": TutorialUNet,
    "unet_1d": UNet1D,
    "diffwave": DiffWave,
    "vector_mlp": VectorMLP,
    "step_mlp": StepMLP,
    "unet_2d": UNet2DModel,
    "unet_condition": UNet2DConditionModel,
    "token_transformer": TokenTransformer,
}

AUTOENCODERS: dict[str, type] = {"autoencoder_kl": AutoencoderKL, "vq_model": VQModel}

__all__ = [
    "ADM",
    "AUTOENCODERS",
    "BY_NAME",
    "AutoencoderKL",
    "BoundModule",
    "CIFARResNet",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "ClassEmbedder",
    "ControlNetModel",
    "ControlledUNet",
    "Dequantizer",
    "DiT",
    "DiagonalGaussian",
    "DiffWave",
    "EDM2UNet",
    "FIDInception",
    "Features",
    "Functions",
    "ImageEncoding",
    "NNXNetwork",
    "NoisyClassifier",
    "PatchDiscriminator",
    "SmallClassifier",
    "SongUNet",
    "StepMLP",
    "T2IAdapter",
    "TextEncoding",
    "TokenTransformer",
    "TutorialUNet",
    "UNet",
    "UNet1D",
    "UNet2DConditionModel",
    "UNet2DModel",
    "UNetControl",
    "VQModel",
    "VectorMLP",
    "controlled",
    "fingerprint",
    "init",
    "parameter_count",
]
