"""A whole published pipeline in memory: networks, tokenizers, noise schedule; written back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffax.models import CLIPTextModel, VQModel
from diffax.pretrained.network import LoadedNetwork
from diffax.pretrained.saving import write_json
from diffax.pretrained.tokenizer import Tokenizer, save_tokenizer

# `_class_name` of model_index.json: the folders each pipeline needs.
PIPELINES = {
    **dict.fromkeys(
        (
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
        ),
        ("unet", "vae", "text_encoder", "tokenizer"),
    ),
    **dict.fromkeys(
        (
            "StableDiffusionXLPipeline",
            "StableDiffusionXLImg2ImgPipeline",
            "StableDiffusionXLInpaintPipeline",
        ),
        ("unet", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    ),
    **dict.fromkeys(("DDPMPipeline", "DDIMPipeline", "PNDMPipeline"), ("unet",)),
    "LDMPipeline": ("unet", "vqvae"),
}

# Parts of a pipeline that are not read: they judge pictures or take them for prompts.
NOT_READ = ("safety_checker", "feature_extractor", "image_encoder")


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """The networks and settings of one published model.

    Attributes:
        unet: the denoising network.
        vae: the autoencoder; None where the U-Net works on pixels.
        text_encoders: none, one, or XL's two.
        tokenizers: one for each text encoder.
        scheduler: `scheduler_config.json`, the noise schedule and default sampler.
        settings: the flags of `model_index.json`, such as `force_zeros_for_empty_prompt`.
        mesh: where batches are spread over devices, along the mesh's first axis; see `on`.
        class_embedder: the table of classes that the U-Net attends to instead of a text.
    """

    unet: LoadedNetwork
    vae: LoadedNetwork | None
    text_encoders: tuple[LoadedNetwork, ...]
    tokenizers: tuple[Tokenizer, ...]
    scheduler: Mapping[str, Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mesh: Mesh | None = None
    class_embedder: LoadedNetwork | None = None

    @property
    def xl(self) -> bool:
        """Whether the U-Net takes XL's pooled text and sizes."""
        return getattr(self.unet.module, "addition_embed_type", None) == "text_time"

    @property
    def factor(self) -> int:
        """Pixels a latent, on each axis."""
        return 1 if self.vae is None else self.vae.module.factor

    @property
    def default_size(self) -> int:
        """Height and width, in pixels, of the pictures the model was made for."""
        size = self.unet.module.sample_size
        size = size[0] if isinstance(size, tuple) else size
        return (size or 64) * self.factor

    def on(self, mesh: Mesh) -> Pipeline:
        """The same pipeline with its parameters on every device of `mesh`.

        Batches are then split along the mesh's first axis, of which they must be multiples.

        Example:
            >>> import jax  # doctest: +SKIP
            >>> mesh = jax.make_mesh(
            ...     (8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))  # doctest: +SKIP
            >>> pipe = load_pipeline("stable-diffusion-v1-5").on(mesh)  # doctest: +SKIP
        """

        def everywhere(network):
            if network is None:
                return None
            return jax.device_put(network, NamedSharding(mesh, PartitionSpec()))

        return dataclasses.replace(
            self,
            unet=everywhere(self.unet),
            vae=everywhere(self.vae),
            text_encoders=tuple(map(everywhere, self.text_encoders)),
            class_embedder=everywhere(self.class_embedder),
            mesh=mesh,
        )

    def save(self, folder: str | Path, *, dtype: jnp.dtype | None = None) -> None:
        """Writes the diffusers layout, with `model_index.json` last.

        Args:
            folder: made where it is missing; nothing in it is overwritten.
            dtype: of the weights in the files; None keeps their own.

        Raises:
            FileExistsError: the folder holds a pipeline.
            ValueError: a class-conditional latent model, for which diffusers has no pipeline.
        """
        folder = Path(folder)
        if self.class_embedder is not None:
            raise ValueError(
                "the diffusers layout has no pipeline with a class embedder; save the networks, "
                "as in pipe.unet.save(folder), or keep the original file"
            )
        if (folder / "model_index.json").exists():
            raise FileExistsError(f"{folder} holds a pipeline already; save to another folder")
        index: dict[str, Any] = {"_class_name": self._class_name(), **self.settings}
        networks = {"unet": self.unet}
        if self.vae is not None:
            name = "vqvae" if isinstance(self.vae.module, VQModel) else "vae"
            networks[name] = self.vae
        for number, encoder, tokenizer in self._texts():
            networks[f"text_encoder{number}"] = encoder
            save_tokenizer(folder / f"tokenizer{number}", tokenizer)
            index[f"tokenizer{number}"] = ["transformers", "CLIPTokenizer"]
        for name, network in networks.items():
            network.save(folder / name, dtype=dtype)
            library = "transformers" if isinstance(network.module, CLIPTextModel) else "diffusers"
            index[name] = [library, type(network.module).__name__]
        for name in PIPELINES[index["_class_name"]]:
            index.setdefault(name, [None, None])
        if index["_class_name"].startswith("StableDiffusion"):
            index |= {name: [None, None] for name in NOT_READ[: 2 if not self.xl else 0]}
        (folder / "scheduler").mkdir(parents=True, exist_ok=True)
        write_json(folder / "scheduler" / "scheduler_config.json", dict(self.scheduler))
        index["scheduler"] = ["diffusers", self.scheduler["_class_name"]]
        write_json(folder / "model_index.json", index)

    def _texts(self):
        """`("", encoder, tokenizer)` and `("_2", ...)`: the refiner has only the second."""
        numbers = ("",) if len(self.text_encoders) == 1 and not self.xl else ("", "_2")
        numbers = numbers[-len(self.text_encoders) :] if self.text_encoders else ()
        return zip(numbers, self.text_encoders, self.tokenizers, strict=True)

    def _class_name(self) -> str:
        if not self.text_encoders:
            return "DDPMPipeline" if self.vae is None else "LDMPipeline"
        kind = "StableDiffusionXL" if self.xl else "StableDiffusion"
        inpainting = self.unet.module.in_channels == 9
        if self.xl and len(self.text_encoders) == 1:
            return kind + "Img2ImgPipeline"
        return kind + ("InpaintPipeline" if inpainting else "Pipeline")
