"""Published parts as choices of a recipe: where fine-tuning starts.

    Denoising(
        network=PublishedNetwork("stable-diffusion-v1-5/unet"),
        conditioner=PublishedReader("stable-diffusion-v1-5"),
        codec=PublishedAutoencoder("stable-diffusion-v1-5/vae"),
        schedule=ScaledLinear(), adapter=LowRank(rank=4), ...)

What is not trained is kept by reference: a checkpoint holds the path and a fingerprint, not the
parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffax.codecs import Latent
from diffax.pretrained.conditioning import PublishedText
from diffax.pretrained.loading import load_components
from diffax.pretrained.network import load_network
from diffax.pretrained.published import model_of


@dataclass(frozen=True)
class PublishedNetwork:
    """A published denoising network, and its parameters to start from."""

    path: str = ""
    """Its folder, with config.json and safetensors, such as DIR/unet."""
    variant: str | None = None
    """Of the files, such as fp16."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""

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
class PublishedAutoencoder:
    """The latents of a published autoencoder, which stays as it is."""

    path: str = ""
    """Its folder, with config.json and safetensors, such as DIR/vae."""
    variant: str | None = None
    """Of the files, such as fp16."""
    cache: str | None = None
    """An .npz in which the latents are kept, computed once; None: encoded at every step."""

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
    """The text encoders and tokenizers of a published model, which stay as they are."""

    path: str = ""
    """The model: a folder with model_index.json."""
    dropout: float = 0.1
    """Probability, in [0, 1], of replacing a caption by the empty text in training."""

    def __post_init__(self) -> None:
        """Checks the probability."""
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"conditioner.dropout must lie in 0 to 1, got {self.dropout}")

    def fitted(self, spec: Any) -> PublishedText:
        """The conditioner.

        Raises:
            FileNotFoundError, ValueError: as `load_pipeline`; a model or data without texts.
        """
        conditioner = model_of(load_components(_given(self.path, "conditioner"))).conditioner
        if not isinstance(conditioner, PublishedText):
            raise ValueError(f"{self.path} has no text encoder")
        return conditioner.with_dropout(self.dropout).fitted(spec)


def _given(path: str, part: str) -> Path:
    """The path, which a recipe may leave to the command line."""
    if not path:
        raise ValueError(f"{part} published needs --{part}.path: the folder to read it from")
    return Path(path)


NETWORKS: dict[str, type] = {"published": PublishedNetwork}
CODECS: dict[str, type] = {"published": PublishedAutoencoder}
CONDITIONERS: dict[str, type] = {"published": PublishedReader}
