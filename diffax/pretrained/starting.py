"""Published parts as choices of a recipe: where fine-tuning starts.

    Denoising(
        network=PublishedNetwork("stable-diffusion-v1-5/unet"),
        conditioner=PublishedReader("stable-diffusion-v1-5"),
        codec=PublishedAutoencoder("stable-diffusion-v1-5/vae"),
        schedule=PublishedSchedule("stable-diffusion-v1-5"),
        parameterization=PublishedTarget("stable-diffusion-v1-5"),
        adapter=LowRank(rank=4), ...)

`inside` says where in a model's folder a part lies: `train.py --pretrained DIR` fills in all paths.
What is not trained is kept by reference: a checkpoint holds the path and a fingerprint, not the
parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from diffax import hub
from diffax.codecs import Latent
from diffax.conditioning import Control, EditedImage, Joined
from diffax.models import BoundModule, UNet2DConditionModel, controlled
from diffax.models.controlnet import control_for, copied
from diffax.parameterization import Parameterization
from diffax.pretrained import remote
from diffax.pretrained.components import Components
from diffax.pretrained.conditioning import PublishedText
from diffax.pretrained.configs import (
    example_inputs,
    module_from_config,
    read_json,
)
from diffax.pretrained.network import load_network
from diffax.pretrained.new_token import with_token
from diffax.pretrained.published import conditioner_of
from diffax.pretrained.schedulers import Setup, from_diffusers
from diffax.pretrained.tokenizer import load_tokenizer
from diffax.schedules import Schedule


@dataclass(frozen=True)
class PublishedNetwork:
    """A published denoising network, and its parameters to start from."""

    path: str = ""
    """Its folder, with config.json and safetensors, such as DIR/unet or org/name/unet."""
    variant: str | None = None
    """Of the files, such as fp16."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""

    inside: ClassVar[str] = "unet"

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters.

        Raises:
            FileNotFoundError: nothing there.
            ValueError: not a network that is supported, or damaged files.
        """
        network = load_network(
            _given(self.path, "network"), dtype=self.dtype, variant=self.variant, remat=self.remat
        )
        return network.module, network.params


@dataclass(frozen=True)
class NewControl(PublishedNetwork):
    """A published U-Net with a new ControlNet, a copy of its encoder (Zhang et al. 2023).

    With the adapter `Subset("/controls_0/")` the ControlNet is learned and the U-Net stays.
    """

    start: str = ""
    """A ControlNet's folder to go on from; empty: the U-Net's encoder."""
    widths: tuple[int, ...] = (16, 32, 96, 256)
    """Channels of the convolutions that read the control image; each but the first halves it."""
    channels: int = 3
    """Of the control image."""
    seed: int = 0
    """Of those convolutions, where they are new."""

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters; raises as `PublishedNetwork.open`.

        Raises:
            ValueError: also a `start` that was made for another base model, or no U-Net with text.
        """
        module, params = super().open()
        unet = BoundModule(module, params)
        if self.start:
            control = load_network(self.start, dtype=self.dtype, remat=self.remat)
        elif not isinstance(module, UNet2DConditionModel):
            raise ValueError(f"{self.path}: a ControlNet needs a U-Net that reads a text")
        else:
            control = self._fresh(module, unet)
        both = controlled(unet, control)
        return both.module, both.params

    def _fresh(self, base: UNet2DConditionModel, unet: BoundModule) -> BoundModule:
        changes = {
            "conditioning_channels": self.channels,
            "conditioning_embedding_out_channels": self.widths,
        }
        module = control_for(base, **changes)
        return copied(module, unet, example_inputs(module), self.seed)


@dataclass(frozen=True)
class EditingNetwork(PublishedNetwork):
    """A published U-Net that is shown an image beside x (InstructPix2Pix, Brooks et al. 2023).

    It starts from a text-to-image U-Net, whose answer the image does not change at first.
    """

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters; raises as `PublishedNetwork.open`."""
        module, params = super().open()
        missing = 2 * module.out_channels - module.in_channels
        if missing <= 0:
            return module, params
        inner = params["params"]
        kernel = jnp.pad(inner["conv_in"]["kernel"], ((0, 0), (0, 0), (0, missing), (0, 0)))
        inner = inner | {"conv_in": inner["conv_in"] | {"kernel": kernel}}
        return module.clone(in_channels=module.in_channels + missing), {"params": inner}


@dataclass(frozen=True)
class PublishedAutoencoder:
    """The latents of a published autoencoder, which stays as it is."""

    path: str = ""
    """Its folder, with config.json and safetensors, such as DIR/vae."""
    variant: str | None = None
    """Of the files, such as fp16."""
    cache: str | None = None
    """An .npz in which the latents are kept, computed once; None: encoded at every step."""

    inside: ClassVar[str] = "vae"

    def fitted(self, spec: Any) -> Latent:
        """The codec.

        Raises:
            FileNotFoundError, ValueError: as `load_network`; data that are no images.
        """
        network = load_network(_given(self.path, "codec"), variant=self.variant)
        if not hasattr(network.module, "unscale"):
            raise ValueError(f"{self.path} holds a {type(network.module).__name__}, no autoencoder")
        return Latent(network.module, network.params).fitted(spec)


@dataclass(frozen=True)
class PublishedReader:
    """The text encoders and tokenizers of a published model."""

    path: str = ""
    """The model: a folder with model_index.json, or its name on the hub."""
    dropout: float = 0.1
    """Probability, in [0, 1], of replacing a caption by the empty text in training."""
    trained: bool = False
    """Whether the adapter reaches the text encoders, too; else they stay as they are."""

    inside: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Checks the probability."""
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"conditioner.dropout must lie in 0 to 1, got {self.dropout}")

    def fitted(self, spec: Any) -> Any:
        """The conditioner.

        Raises:
            FileNotFoundError, ValueError: as `load_pipeline`; a model or data without texts.
        """
        conditioner = _reader(_given(self.path, "conditioner"))
        conditioner = dataclasses.replace(conditioner, dropout=self.dropout, trained=self.trained)
        return conditioner.fitted(spec)


@dataclass(frozen=True)
class TokenReader(PublishedReader):
    """The text encoders of a published model with a new token, whose vectors are learned.

    Textual inversion (Gal et al. 2022), with the adapter `Subset("new_embedding")`.
    """

    trained: bool = True
    """Whether the adapter reaches the text encoders."""
    token: str = "<new>"
    """What captions and prompts call it."""
    vectors: int = 1
    """Vectors that the token stands for, 1 to 75."""
    initial: str = "object"
    """A word that means something near, whose vector all of them start from."""

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        if not 1 <= self.vectors <= 75:
            raise ValueError(f"conditioner.vectors must lie in 1 to 75, got {self.vectors}")
        if not self.token.strip():
            raise ValueError("conditioner.token is empty; give a name that no text has, as <new>")

    def fitted(self, spec: Any) -> Any:
        """The conditioner; raises as `PublishedReader.fitted` and `with_token`."""
        return with_token(super().fitted(spec), self.token, self.vectors, self.initial)


@dataclass(frozen=True)
class ControlReader(PublishedReader):
    """The text encoders of a published model, and an image to follow beside the text."""

    channels: int = 3
    """Of the control image."""

    def fitted(self, spec: Any) -> Any:
        """The conditioner; raises as `PublishedReader.fitted`, or where data have no controls."""
        control = Control(channels=(self.channels,)).fitted(spec)
        return Joined((super().fitted(spec), control))


@dataclass(frozen=True)
class EditReader(PublishedReader):
    """The text encoders of a published model, which read instructions, and the image to be edited.

    Its latents are the model's autoencoder's. Text and image are dropped independently.
    """

    def fitted(self, spec: Any) -> Any:
        """The conditioner; raises as `PublishedReader.fitted`, or without images to be edited."""
        vae = load_network(_given(self.path, "conditioner") / "vae")
        image = EditedImage(Latent(vae.module, vae.params), self.dropout).fitted(spec)
        return Joined((super().fitted(spec), image))


@dataclass(frozen=True)
class PublishedSchedule:
    """The noise schedule that a published model was trained with."""

    path: str = ""
    """The model: a folder with scheduler/scheduler_config.json."""

    inside: ClassVar[str] = ""

    def build(self) -> Schedule:
        """The schedule.

        Raises:
            FileNotFoundError, ValueError: no scheduler, or one without a counterpart here.
        """
        return _scheduler(self.path, "schedule").schedule


@dataclass(frozen=True)
class PublishedTarget:
    """What a published model's network is asked for: eps, v, ..."""

    path: str = ""
    """The model: a folder with scheduler/scheduler_config.json."""

    inside: ClassVar[str] = ""

    def open(self) -> Parameterization:
        """The parameterization; raises as `PublishedSchedule.build`."""
        return _scheduler(self.path, "parameterization").parameterization


def _scheduler(path: str, part: str) -> Setup:
    """A model's scheduler, of which only the schedule and the target are used."""
    folder = hub.located(_given(path, part), ["scheduler/*.json"])
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    return from_diffusers(config, 1, _class_name="DDIMScheduler")


def _reader(folder: Path) -> PublishedText:
    """The text encoders and tokenizers in a model's folder; the other networks are not read."""
    folder = remote.readers(folder)
    index = read_json(folder / "model_index.json")
    names = [n for n in ("text_encoder", "text_encoder_2") if (index.get(n) or [None])[-1]]
    if not names:
        raise ValueError(f"{folder} has no text encoder")
    components = Components(
        unet=BoundModule(module_from_config(read_json(folder / "unet" / "config.json")), {}),
        vae=None,
        text_encoders=tuple(load_network(folder / name) for name in names),
        tokenizers=tuple(
            load_tokenizer(folder / name.replace("text_encoder", "tokenizer")) for name in names
        ),
        scheduler={},
        settings={k: v for k, v in index.items() if k[0] != "_" and not isinstance(v, list)},
    )
    return conditioner_of(components)


def published_parts(path: str = "") -> dict[str, Any]:
    """All parts of a published model, as fields of `Denoising`.

    Args:
        path: the model: a folder with model_index.json; "" where the command line says it.

    Example:
        >>> parts = published_parts("stable-diffusion-v1-5")
        >>> parts["network"].path, sorted(parts)[:3]
        ('stable-diffusion-v1-5/unet', ['codec', 'conditioner', 'network'])
    """
    kinds = {
        "network": PublishedNetwork,
        "schedule": PublishedSchedule,
        "parameterization": PublishedTarget,
        "conditioner": PublishedReader,
        "codec": PublishedAutoencoder,
    }
    return {name: placed(kind(), path) for name, kind in kinds.items()}


def placed(part: Any, path: str) -> Any:
    """A published part of the model in a folder; one that has a path already stays as it is."""
    if not hasattr(part, "inside") or part.path or not path:
        return part
    return dataclasses.replace(part, path=str(Path(path) / part.inside))


def _given(path: str, part: str) -> Path:
    """The path, which a recipe may leave to the command line."""
    if not path:
        raise ValueError(
            f"{part} published needs --{part}.path, the folder to read it from; --pretrained DIR "
            "says it for all parts of a model"
        )
    return Path(path)


NETWORKS: dict[str, type] = {
    "published": PublishedNetwork,
    "new_control": NewControl,
    "editing": EditingNetwork,
}
SCHEDULES: dict[str, type] = {"published": PublishedSchedule}
PARAMETERIZATIONS: dict[str, type] = {"published": PublishedTarget}
CODECS: dict[str, type] = {"published": PublishedAutoencoder}
CONDITIONERS: dict[str, type] = {
    "published": PublishedReader,
    "new_token": TokenReader,
    "with_control": ControlReader,
    "instruction": EditReader,
}
