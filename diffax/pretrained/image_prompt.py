"""IP-Adapter (Ye et al. 2023): images as a prompt, beside the text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from diffax import hub, image_range
from diffax.adapters.paths import flat, nested
from diffax.conditioning import Joined
from diffax.generation import Model
from diffax.models import BoundModule, CLIPVisionModelWithProjection, UNet2DConditionModel
from diffax.models.clip_vision import MEAN, STD
from diffax.models.image_projection import HEAD_SIZE, ImageProjection, Resampler
from diffax.noun import noun
from diffax.pretrained.files import open_file
from diffax.pretrained.filling import fill
from diffax.pretrained.weights import Subset, Tensors

# Projections of other kinds, by a tensor that only they have.
_REFUSED = {
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
        projection: an `ImageProjection` of the image's embedding, or a `Resampler` of its states.
    """

    encoder: BoundModule
    projection: BoundModule

    reads: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[tuple[str, ...]] = ("image_prompt", "image_prompt_scale")
    trained: ClassVar[bool] = False

    @property
    def params(self) -> dict[str, Any]:
        """The encoder's parameters and the projection's."""
        return {"encoder": self.encoder.params, "projection": self.projection.params}

    def with_params(self, params: Mapping[str, Any]) -> ImagePrompt:
        """The conditioner with other parameters."""
        encoder = BoundModule(self.encoder.module, params["encoder"])
        projection = BoundModule(self.projection.module, params["projection"])
        return dataclasses.replace(self, encoder=encoder, projection=projection)

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
        """The image as CLIP sees it; what is guided away from sees none.

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
        told = {"image_scale": np.full(num, scale, np.float32)}
        return (
            told | {"clip_image": seen, "no_image": np.zeros(num, bool)},
            told | {"clip_image": np.zeros_like(seen), "no_image": np.ones(num, bool)},
        )

    def drop(self, key: Array, told: dict[str, Any]) -> dict[str, Any]:
        """Nothing is dropped."""
        return told

    def encode(self, params: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Array]:
        """The image's tokens."""
        encoding: Any = self.encoder.module.apply(params["encoder"], told["clip_image"])
        if isinstance(self.projection.module, Resampler):
            seen = encoding.hidden[-2].astype(jnp.float32)
        else:
            # No image is zeros for its embedding; a resampler looks at a grey one.
            seen = jnp.where(told["no_image"][:, None], 0.0, encoding.projected)
        tokens: Any = self.projection.module.apply(params["projection"], seen.astype(jnp.float32))
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
    file, unet = hub.located(file, []), model.network.module
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
    width = unet.cross_attention_dim
    if not isinstance(width, int):
        raise ValueError(f"an IP-Adapter needs texts of one width, this U-Net has {width}")
    projection = _projection(Subset(tensors, "image_proj."), width, encoder, file)
    network = BoundModule(unet.clone(image_prompt=True), _extended(model, tensors, file))
    parts = getattr(model.conditioner, "parts", (model.conditioner,))
    prompt = ImagePrompt(encoder, projection)
    return dataclasses.replace(model, network=network, conditioner=Joined((*parts, prompt)))


def _projection(tensors: Tensors, width: int, encoder: BoundModule, file: Path) -> BoundModule:
    """What makes tokens of `width` numbers of the encoder's view, from the file's shapes."""
    clip: Any = encoder.module
    module: ImageProjection | Resampler
    if "latents" in tensors:
        _, count, inner = tensors.shape("latents")
        features, wanted = tensors.shape("proj_out.weight")[0], tensors.shape("proj_in.weight")[1]
        heads = tensors.shape("layers.0.0.to_q.weight")[0] // HEAD_SIZE
        depth = len({key.split(".")[1] for key in tensors if key.startswith("layers.")})
        module = Resampler(count, inner, features, heads, depth)
        given, seen = clip.hidden_size, jnp.zeros((1, 1, wanted))
    elif "proj.weight" in tensors and "norm.weight" in tensors:
        rows, wanted = tensors.shape("proj.weight")
        features = tensors.shape("norm.weight")[0]
        module = ImageProjection(max(1, rows // features), features)
        given, seen = clip.projection_dim, jnp.zeros((1, wanted))
    else:
        raise ValueError(f"{file}: no IP-Adapter (it has no image_proj.proj.weight)")
    if features != width:
        raise ValueError(
            f"{file}: this IP-Adapter was made for another base model: its tokens are {features} "
            f"wide, the U-Net's texts {width}"
        )
    if wanted != given:
        raise ValueError(
            f"{file}: this IP-Adapter needs an image encoder that gives {wanted} numbers, this "
            f"one gives {given}"
        )
    shapes = jax.eval_shape(module.init, jax.random.key(0), seen)
    return BoundModule(module, fill(shapes, tensors, where=str(file)))


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
