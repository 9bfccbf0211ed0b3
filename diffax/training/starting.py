"""Another run of ours as a choice of a recipe: where training starts, or a teacher.

    Denoising(network=TrainedRun("runs/digits"), ...)

Like a published network it is kept by reference: a checkpoint holds the folder and a fingerprint.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from diffax.codecs import Codes, Latent
from diffax.conditioning import Captions, Control, Joined
from diffax.generation import Model
from diffax.models import UNet, controlled
from diffax.models.controlnet import control_for, copied


@dataclass(frozen=True)
class TrainedRun:
    """A run of train.py: its network with the parameters that it has learned."""

    path: str = ""
    """The run's folder, such as runs/digits."""
    ema: str | None = None
    """Which average, "none" for the parameters themselves; None: the first average."""
    step: int | None = None
    """Of the checkpoint; None: the newest whole one."""

    def model(self) -> Model:
        """The run's model.

        Raises:
            FileNotFoundError: no path, no run, or no such checkpoint.
            ValueError: as `load_run`.

        Example:
            >>> TrainedRun("runs/digits").model()  # doctest: +SKIP
        """
        # A run's recipe may hold another run: here the two modules meet again.
        from diffax.training.run import load_run

        if not self.path:
            raise FileNotFoundError(
                "starting from a run needs its folder, such as --objective.network.path runs/digits"
            )
        return load_run(self.path, self.ema, self.step)

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters; raises as `model`."""
        network = self.model().network
        return network.module, network.params


@dataclass(frozen=True)
class TrainedControl(TrainedRun):
    """A run's U-Net with a new ControlNet, a copy of its encoder (Zhang et al. 2023).

    With the adapter `Subset("/controls_0/")` the ControlNet is learned and the U-Net stays.
    """

    widths: tuple[int, ...] = (16, 32, 96, 256)
    """Channels of the convolutions that read the control image; each but the first halves it. As
    many are made as bring it to the size of what the U-Net sees."""
    channels: int = 3
    """Of the control image."""
    seed: int = 0
    """Of those convolutions."""

    def open(self) -> tuple[Any, Any]:
        """The network, and its parameters; raises as `model`.

        Raises:
            ValueError: also a run whose network is no `unet`, or too few `widths`.
        """
        model = self.model()
        unet: Any = model.network
        if not isinstance(unet.module, UNet):
            raise ValueError(
                f"a ControlNet needs a run whose network is a unet; {self.path} has a "
                f"{type(unet.module).__name__}"
            )
        module = control_for(
            unet.module,
            conditioning_channels=self.channels,
            conditioning_embedding_out_channels=self._enough(model.factor * unet.module.patch),
        )
        both = controlled(unet, copied(module, unet, module.inputs(model.shape), self.seed))
        return both.module, both.params

    def _enough(self, factor: int) -> tuple[int, ...]:
        """The first of the widths, which make an image `factor` times smaller."""
        count = factor.bit_length()
        if factor != 2 ** (count - 1) or count > len(self.widths):
            raise ValueError(
                f"network.widths: {self.path} sees images {factor} times smaller, each width but "
                f"the first halves them, got {list(self.widths)}; give one more than halvings"
            )
        return self.widths[:count]


@dataclass(frozen=True)
class TrainedAutoencoder:
    """The latents of an autoencoder that a run of train.py has learned; it stays as it is."""

    path: str = ""
    """The run's folder, such as runs/emoji_autoencoder."""
    ema: str | None = None
    """Which average, "none" for the parameters themselves; None: the first average."""
    step: int | None = None
    """Of the checkpoint; None: the newest whole one."""
    cache: str | None = None
    """An .npz in which the latents are kept, computed once; None: encoded at every step."""

    def fitted(self, spec: Any) -> Latent | Codes:
        """The codec.

        Raises:
            FileNotFoundError: no path, no run, or no such checkpoint.
            ValueError: a run that learned no autoencoder; data that are no images, or of other
                channels.
        """
        return self._latents(spec)

    def _latents(self, spec: Any) -> Latent:
        from diffax.training.run import load_codec

        if not self.path:
            raise FileNotFoundError(
                "codec run needs the folder of an autoencoder's run, such as "
                "--codec.path runs/emoji_autoencoder"
            )
        codec = load_codec(self.path, self.ema, self.step)
        if not isinstance(codec, Latent):
            raise ValueError(
                f"codec run needs the run of an autoencoder; {self.path} has the codec "
                f"{type(codec).__name__}"
            )
        codec = codec.fitted(spec)
        wanted, channels = codec.module.in_channels, spec.shape[-1]
        if wanted != channels:
            raise ValueError(
                f"the autoencoder of {self.path} takes images of {wanted} channels, the data have "
                f"{channels}"
            )
        return codec


@dataclass(frozen=True)
class TrainedCodes(TrainedAutoencoder):
    """The codes, as tokens, of an autoencoder with a codebook that a run of train.py has learned.

    For `token_diffusion`; the run is one of a vq_model, such as emoji_autoencoder:codes.
    """

    def fitted(self, spec: Any) -> Codes:
        """The codec; raises as `TrainedAutoencoder.fitted`, or where there is no codebook."""
        return Codes(self._latents(spec)).fitted(spec)


@dataclass(frozen=True)
class TrainedReader:
    """What a run of train.py is told, with what its conditioner has learned."""

    path: str = ""
    """The run's folder, such as runs/emoji."""
    ema: str | None = None
    """Which average, "none" for the parameters themselves; None: the first average."""
    step: int | None = None
    """Of the checkpoint; None: the newest whole one."""
    dropout: float | None = None
    """Probability, in [0, 1], of dropping what is told in training; None: as in the run."""

    def fitted(self, spec: Any) -> Any:
        """The conditioner; raises as `TrainedRun.model`, or where the data do not tell it."""
        conditioner = TrainedRun(self.path, self.ema, self.step).model().conditioner
        if self.dropout is not None and hasattr(conditioner, "dropout"):
            conditioner = dataclasses.replace(conditioner, dropout=self.dropout)
        return conditioner.fitted(spec)


@dataclass(frozen=True)
class TrainedToken(TrainedReader):
    """The captions that a run of train.py reads, with a new token, whose vectors are learned.

    Textual inversion (Gal et al. 2022), with the adapter `Subset("new_embedding")`.
    """

    token: str = "<new>"
    """What captions and prompts call it."""
    vectors: int = 1
    """Vectors that the token stands for."""
    initial: str = "object"
    """A word that means something near, whose vector all of them start from."""

    def fitted(self, spec: Any) -> Any:
        """The conditioner; raises as `TrainedReader.fitted`, or of a run that reads no captions."""
        conditioner = super().fitted(spec)
        if not isinstance(conditioner, Captions):
            raise ValueError(
                f"a new token needs a run that reads captions; {self.path} has the conditioner "
                f"{type(conditioner).__name__}"
            )
        return conditioner.with_token(self.token, self.vectors, self.initial)


@dataclass(frozen=True)
class TrainedControlReader(TrainedReader):
    """What a run of train.py is told, and an image to follow beside it."""

    channels: int = 3
    """Of the control image."""

    def fitted(self, spec: Any) -> Joined:
        """The conditioner; raises as `TrainedReader.fitted`, or where data have no controls."""
        control = Control(channels=(self.channels,)).fitted(spec)
        return Joined((super().fitted(spec), control))


RUNS: dict[str, type] = {"run": TrainedRun}
NETWORKS: dict[str, type] = RUNS | {"run_control": TrainedControl}
READERS: dict[str, type] = {
    "run": TrainedReader,
    "run_token": TrainedToken,
    "run_with_control": TrainedControlReader,
}
CODECS: dict[str, type] = {"run": TrainedAutoencoder, "run_codes": TrainedCodes}
