"""What one published model consists of: networks, tokenizers, settings; written to a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jax.typing import DTypeLike

from diffax.models import CLIPTextModel, VQModel
from diffax.models.bound import BoundModule
from diffax.pretrained.network import save_network
from diffax.pretrained.saving import LAYOUT_VERSION, write_json
from diffax.pretrained.tokenizer import Tokenizer, save_tokenizer

# `_class_name` of model_index.json: the folders each pipeline needs.
PIPELINES = {
    **dict.fromkeys(
        (
            "StableDiffusionPipeline",
            "StableDiffusionImg2ImgPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionInstructPix2PixPipeline",
            "StableDiffusionDepth2ImgPipeline",
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
    "StableDiffusionUpscalePipeline": ("unet", "vae", "text_encoder", "tokenizer"),
}

# Parts of a pipeline that are not read: they judge images, take them for prompts, or guess depths.
NOT_READ = (
    "safety_checker",
    "feature_extractor",
    "image_encoder",
    "watermarker",
    "depth_estimator",
)

# Parts that are settings only.
SCHEDULERS = ("scheduler", "low_res_scheduler")


@dataclasses.dataclass(frozen=True)
class Components:
    """The networks and settings of one published model, as its files have them.

    Attributes:
        unet: the denoising network.
        vae: the autoencoder; None where the U-Net works on pixels.
        text_encoders: none, one, or XL's two.
        tokenizers: one for each text encoder.
        scheduler: `scheduler_config.json`, the noise schedule and default sampler.
        settings: the flags of `model_index.json`, such as `force_zeros_for_empty_prompt`.
        class_embedder: the table of classes that the U-Net attends to instead of a text.
        low_res_scheduler: of the x4 upscaler, the schedule that its small images are noised by.
        files: the JSON files that were read, by their path in the folder, such as
            "unet/config.json": fields that nothing here needs are written back from them.
    """

    unet: BoundModule
    vae: BoundModule | None
    text_encoders: tuple[BoundModule, ...]
    tokenizers: tuple[Tokenizer, ...]
    scheduler: Mapping[str, Any]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_embedder: BoundModule | None = None
    low_res_scheduler: Mapping[str, Any] | None = None
    files: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def xl(self) -> bool:
        """Whether the U-Net takes XL's pooled text and sizes."""
        return getattr(self.unet.module, "addition_embed_type", None) == "text_time"

    def save(self, folder: str | Path, *, dtype: DTypeLike | None = None) -> None:
        """Writes the diffusers layout, with `model_index.json` last.

        Args:
            folder: made where it is missing; nothing in it is overwritten.
            dtype: of the weights in the files; None keeps their own.

        Raises:
            FileExistsError: the folder holds a model.
            ValueError: a class-conditional latent model, for which diffusers has no pipeline.
        """
        folder = Path(folder)
        if self.class_embedder is not None:
            raise ValueError(
                "the diffusers layout has no pipeline with a class embedder; save the networks "
                "one by one with save_network, or keep the original file"
            )
        if (folder / "model_index.json").exists():
            raise FileExistsError(f"{folder} holds a model already; save to another folder")
        read = dict(self.files.get("model_index.json", {}))
        index: dict[str, Any] = {
            "_class_name": self._class_name(),
            "_diffusers_version": LAYOUT_VERSION,
            **{key: value for key, value in read.items() if key.startswith("_")},
            **self.settings,
        }
        for name, network in self._networks():
            file = self.files.get(f"{name}/config.json", {})
            save_network(network, folder / name, dtype=dtype, config=file)
            library = "transformers" if isinstance(network.module, CLIPTextModel) else "diffusers"
            index[name] = [library, type(network.module).__name__]
        for number, tokenizer in self._tokenizers():
            name = f"tokenizer{number}"
            save_tokenizer(folder / name, tokenizer, self._inside(name))
            index[name] = read.get(name, ["transformers", "CLIPTokenizer"])
        for name in PIPELINES[index["_class_name"]]:
            index.setdefault(name, [None, None])
        if index["_class_name"].startswith("StableDiffusion"):
            # What was not read is not written either.
            index |= {name: [None, None] for name in NOT_READ[: 2 if not self.xl else 0]}
            index |= {name: [None, None] for name in NOT_READ if name in read}
        for name in SCHEDULERS:
            scheduler = getattr(self, name)
            if scheduler is not None:
                (folder / name).mkdir(parents=True, exist_ok=True)
                write_json(folder / name / "scheduler_config.json", dict(scheduler))
                index[name] = ["diffusers", scheduler["_class_name"]]
        write_json(folder / "model_index.json", index)

    def _networks(self) -> Iterator[tuple[str, BoundModule]]:
        """The networks by the names of their folders."""
        yield "unet", self.unet
        if self.vae is not None:
            yield "vqvae" if isinstance(self.vae.module, VQModel) else "vae", self.vae
        for number, encoder in zip(self._numbers(), self.text_encoders, strict=True):
            yield f"text_encoder{number}", encoder

    def _tokenizers(self) -> Iterator[tuple[str, Tokenizer]]:
        return zip(self._numbers(), self.tokenizers, strict=True)

    def _numbers(self) -> tuple[str, ...]:
        """Endings of the text folders' names: the refiner has only the second."""
        if not self.text_encoders:
            return ()
        numbers = ("",) if len(self.text_encoders) == 1 and not self.xl else ("", "_2")
        return numbers[-len(self.text_encoders) :]

    def _inside(self, name: str) -> dict[str, Mapping[str, Any]]:
        """The JSON files of one folder, by their own names."""
        prefix = name + "/"
        return {
            path.removeprefix(prefix): content
            for path, content in self.files.items()
            if path.startswith(prefix)
        }

    def _class_name(self) -> str:
        if not self.text_encoders:
            return "DDPMPipeline" if self.vae is None else "LDMPipeline"
        kind = "StableDiffusionXL" if self.xl else "StableDiffusion"
        if self.low_res_scheduler is not None:
            return "StableDiffusionUpscalePipeline"
        if self.unet.module.in_channels == 8:
            return "StableDiffusionInstructPix2PixPipeline"
        if self.unet.module.in_channels == 5:
            return "StableDiffusionDepth2ImgPipeline"
        inpainting = self.unet.module.in_channels == 9
        if self.xl and len(self.text_encoders) == 1:
            return kind + "Img2ImgPipeline"
        return kind + ("InpaintPipeline" if inpainting else "Pipeline")
