"""IP-Adapter (Ye et al. 2023): images as a prompt, beside the text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from diffax import image_range
from diffax.adapters.paths import flat, nested
from diffax.conditioning import Joined
from diffax.generation import Model
from diffax.models import BoundModule, CLIPVisionModelWithProjection, UNet2DConditionModel
from diffax.models.clip_vision import MEAN, STD
from diffax.noun import noun, structure
from diffax.pretrained.files import open_file
from diffax.pretrained.weights import Tensors

_EPS = 1e-5  # of the projection's norm

# Projections of other kinds, by a tensor that only they have.
_REFUSED = {
    "image_proj.latents": "IP-Adapter Plus (a resampler)",
    "image_proj.proj.3.weight": "IP-Adapter Full Face",
    "image_proj.perceiver_resampler.proj_in.weight": "IP-Adapter Face ID Plus",
    "image_proj.proj.0.weight": "IP-Adapter Face ID",
}


@noun
class ImagePrompt:
    """An image that samples should resemble, as tokens that a U-Net attends to beside the text.

    The condition is `{"image_prompt": [B, tokens, C], "image_scale": [B]}`.

    Attributes:
        encoder: CLIP's image encoder with its projection.
        projection: `{"kernel", "bias", "scale", "shift"}`: a linear map to all tokens, and the norm
            of each.
        tokens: how many.
    """

    encoder: BoundModule
    projection: Any
    tokens: int = structure(default=4)

    reads: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[tuple[str, ...]] = ("image_prompt", "image_prompt_scale")
    trained: ClassVar[bool] = False

    @property
    def params(self) -> dict[str, Any]:
        """The encoder's parameters and the projection's."""
        return {"encoder": self.encoder.params, "projection": self.projection}

    def with_params(self, params: Mapping[str, Any]) -> ImagePrompt:
        """The conditioner with other parameters."""
        encoder = BoundModule(self.encoder.module, params["encoder"])
        return dataclasses.replace(self, encoder=encoder, projection=params["projection"])

    def fitted(self, spec: Any) -> ImagePrompt:
        """Refused: training with image prompts is not supported.

        Raises:
            ValueError: always.
        """
        raise ValueError("training with an IP-Adapter is not supported; leave it out")

    def init(self, key: Array) -> dict[str, Any]:
        """The published parameters: nothing is drawn."""
        return self.params

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def request(self, request: Any, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The image as CLIP sees it; what is guided away from sees zeros for its embedding.

        Raises:
            ValueError: no image, or a scale that is no finite number.
        """
        if request.image_prompt is None:
            raise ValueError("this model has an IP-Adapter: give image_prompt, or leave it out")
        scale = 1.0 if request.image_prompt_scale is None else request.image_prompt_scale
        if not np.isfinite(scale):
            raise ValueError(f"image_prompt_scale should be a finite number, got {scale}")
        images = image_range.as_images(request.image_prompt, num)
        size = self.encoder.module.image_size
        seen = np.stack([clip_pixels(image, size) for image in image_range.to_uint8(images)])
        told = {"clip_image": seen, "image_scale": np.full(num, scale, np.float32)}
        return (
            told | {"no_image": np.zeros(num, bool)},
            told | {"no_image": np.ones(num, bool)},
        )

    def drop(self, key: Array, told: dict[str, Any]) -> dict[str, Any]:
        """Nothing is dropped."""
        return told

    def encode(self, params: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Array]:
        """The image's tokens."""
        encoding: Any = self.encoder.module.apply(params["encoder"], told["clip_image"])
        embedding = encoding.projected.astype(jnp.float32)
        embedding = jnp.where(told["no_image"][:, None], 0.0, embedding)
        own = params["projection"]
        tokens = embedding @ own["kernel"] + own["bias"][None]
        tokens = tokens.reshape(tokens.shape[0], self.tokens, -1)
        mean = jnp.mean(tokens, axis=-1, keepdims=True)
        variance = jnp.var(tokens, axis=-1, keepdims=True)
        normed = (tokens - mean) / jnp.sqrt(variance + _EPS)
        tokens = normed * own["scale"][None, None] + own["shift"][None, None]
        return {"image_prompt": tokens, "image_scale": told["image_scale"]}


def with_image_prompt(model: Model, file: str | Path, encoder: BoundModule) -> Model:
    """A text-to-image model with an IP-Adapter, for requests that give `image_prompt`.

    Args:
        model: from `load_pipeline`, without controls (they may be added afterwards).
        file: the adapter, `.safetensors` or `.bin`.
        encoder: CLIP's image encoder that it was trained with, from `load_network`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: made for another base model or encoder, or of a kind that is not supported.

    Example:
        >>> encoder = load_network("IP-Adapter/models/image_encoder")  # doctest: +SKIP
        >>> adapter = "IP-Adapter/models/ip-adapter_sd15.safetensors"  # doctest: +SKIP
        >>> model = with_image_prompt(model, adapter, encoder)  # doctest: +SKIP
        >>> images = text_to_image(model, "a fox", image_prompt=image)  # doctest: +SKIP
    """
    file, unet = Path(file), model.network.module
    if not isinstance(unet, UNet2DConditionModel) or unet.image_prompt:
        raise ValueError(
            "an IP-Adapter needs a U-Net with text, without controls or another image prompt; "
            f"this is {type(unet).__name__}"
        )
    if not isinstance(encoder.module, CLIPVisionModelWithProjection):
        raise ValueError("an IP-Adapter needs CLIP's image encoder with its projection")
    tensors = open_file(file)
    for key, kind in _REFUSED.items():
        if key in tensors:
            raise ValueError(f"{file}: {kind} is not supported; use a plain IP-Adapter")
    if "image_proj.proj.weight" not in tensors:
        raise ValueError(f"{file}: no IP-Adapter (image_proj.proj.weight is missing)")
    width = unet.cross_attention_dim
    if not isinstance(width, int):
        raise ValueError(f"an IP-Adapter needs texts of one width, this U-Net has {width}")
    rows, wanted = tensors.shape("image_proj.proj.weight")
    if tensors.shape("image_proj.norm.weight") != (width,) or rows % width:
        raise ValueError(
            f"{file}: this IP-Adapter was made for another base model: its tokens are "
            f"{tensors.shape('image_proj.norm.weight')[0]} wide, the U-Net's texts {width}"
        )
    if wanted != encoder.module.projection_dim:
        raise ValueError(
            f"{file}: this IP-Adapter needs an image encoder with embeddings of {wanted} numbers, "
            f"this one's have {encoder.module.projection_dim}"
        )
    network = BoundModule(unet.clone(image_prompt=True), _extended(model, tensors, file))

    def read(name: str) -> Array:
        return jnp.asarray(np.asarray(tensors[f"image_proj.{name}"], np.float32))

    projection = {
        "kernel": read("proj.weight").T,
        "bias": read("proj.bias"),
        "scale": read("norm.weight"),
        "shift": read("norm.bias"),
    }
    parts = getattr(model.conditioner, "parts", (model.conditioner,))
    prompt = ImagePrompt(encoder, projection, rows // width)
    return dataclasses.replace(model, network=network, conditioner=Joined((*parts, prompt)))


def _extended(model: Model, tensors: Tensors, file: Path) -> dict[str, Any]:
    """The U-Net's parameters with the adapter's keys and values beside those of the text."""
    leaves = flat(model.network.params)
    places = sorted((p for p in leaves if p.endswith("attn2/to_k/kernel")), key=_order)
    own = [key for key in tensors if key.startswith("ip_adapter.")]
    if len(own) != 2 * len(places):
        raise ValueError(
            f"{file}: this IP-Adapter was made for another base model: it has {len(own) // 2} "
            f"layers, the U-Net attends to texts in {len(places)}"
        )
    for i, place in enumerate(places):
        for name in ("to_k", "to_v"):
            kernel = leaves[place.replace("to_k", name)]
            # Every other attention looks at the text.
            key = f"ip_adapter.{2 * i + 1}.{name}_ip.weight"
            if key not in tensors or tensors.shape(key) != kernel.shape[::-1]:
                found = tensors.shape(key) if key in tensors else "none"
                raise ValueError(
                    f"{file}: this IP-Adapter was made for another base model: {key} should be "
                    f"{kernel.shape[::-1]}, got {found}"
                )
            value = jnp.asarray(tensors[key].T, kernel.dtype)
            leaves[place.replace("to_k", f"{name}_ip")] = value
    return nested(leaves)


def without_image_prompt(unet: BoundModule) -> BoundModule:
    """The U-Net as it was before `with_image_prompt`."""
    if not getattr(unet.module, "image_prompt", False):
        return unet
    leaves = flat(unet.params)
    own = {path: leaf for path, leaf in leaves.items() if not path.endswith("_ip/kernel")}
    return BoundModule(unet.module.clone(image_prompt=False), nested(own))


def _order(path: str) -> tuple:
    """The published order of attention layers: the way down, the way up, the middle."""
    block = path.split("/")[1]
    way = ("down", "up", "mid").index(block.split("_")[0])
    return (way, *(int(n) for n in re.findall(r"_(\d+)(?=/)", path)))


def clip_pixels(image: np.ndarray, size: int) -> np.ndarray:
    """An image as CLIP's image encoders see it.

    Args:
        image: uint8 `[H, W, 3]`.
        size: the shorter side is resized to it, bicubic, and the middle kept.

    Returns:
        float32 `[size, size, 3]`, colours in [0, 1] minus `MEAN`, over `STD`.

    Example:
        >>> clip_pixels(np.zeros((30, 20, 3), np.uint8), 14).shape
        (14, 14, 3)
    """
    height, width = image.shape[:2]
    short = min(height, width)
    new = (size * width // short, size * height // short)
    small = np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BICUBIC))
    top, left = ((n - size) // 2 for n in small.shape[:2])
    middle = small[top : top + size, left : left + size]
    return ((middle / 255.0 - np.array(MEAN)) / np.array(STD)).astype(np.float32)
