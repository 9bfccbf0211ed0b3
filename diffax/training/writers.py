"""Where the lines of metrics go besides metrics.jsonl: TensorBoard, Weights & Biases, your own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from diffax import atomic
from diffax.training.config import TrainConfig
from diffax.training.keeping import voice

Json = dict[str, Any]
ID_FILE = "wandb-id"


class Writer(Protocol):
    """Takes what a run says of itself; process 0 has them.

    Whatever one raises is a warning, and training goes on. A run that continues opens it again.
    """

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one line of metrics.jsonl, with speeds and memory beside them."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """An image, uint8 [H, W, C]: a grid of samples, the denoising."""

    def close(self) -> None:
        """The run has ended, or stops here."""


def open_writers(train: TrainConfig, workdir: Path, step: int, config: Json) -> Writers:
    """The writers that a config asks for by `train.tensorboard` and `train.writers`.

    Args:
        train: says which.
        workdir: the run's folder.
        step: where the run begins or continues; a writer forgets later lines, where it can.
        config: the whole config, as plain data.

    Raises:
        ValueError: a package is missing.
    """
    asked = [*([TensorBoard()] if train.tensorboard else []), *train.writers]
    return Writers([one.open(workdir, step, config) for one in asked])


@dataclass(frozen=True)
class TensorBoard:
    """Events in the run's folder."""

    def open(self, workdir: Path, step: int, config: Json) -> Writer:
        """The writer."""
        return _Events(workdir, step)


class _Events:
    def __init__(self, workdir: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # slow to import: only where it is wanted

        purge = step + 1 if step else None
        self._board = SummaryWriter(str(workdir), purge_step=purge, flush_secs=30)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


@dataclass(frozen=True)
class WandB:
    """Weights & Biases (`pip install 'diffax[wandb]'`); a run that continues is one run there."""

    project: str = "diffax"
    """The project's name."""
    entity: str | None = None
    """The user or team; None: as you are logged in."""
    name: str | None = None
    """The run's name; None: its folder's."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """offline: kept in the folder until `wandb sync`; disabled: nowhere."""

    def open(self, workdir: Path, step: int, config: Json) -> Writer:
        """The writer.

        Raises:
            ValueError: the package is missing.
        """
        try:
            import wandb  # pyrefly: ignore[missing-import]  # optional
        except ImportError as error:
            raise ValueError(
                "train.writers wandb needs the package wandb: pip install 'diffax[wandb]'"
            ) from error
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.name or workdir.name,
            mode=self.mode,
            dir=str(workdir),
            id=_id(workdir),
            resume="allow",
            config=config,
        )
        return _Run(run, wandb.Image)


class _Run:
    def __init__(self, run: Any, image: Any) -> None:
        self._run = run
        self._image = image

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._run.log({name: self._image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _id(workdir: Path) -> str:
    """The name under which a run is known there, made once."""
    path = workdir / ID_FILE
    if not path.is_file():
        atomic.write(path, secrets.token_hex(8).encode())
    return path.read_text().strip()


class Writers:
    """Several as one. What one of them raises is reported, and stops nothing."""

    def __init__(self, writers: list[Writer]) -> None:
        self._writers = writers

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `Writer.write`."""
        self._each("write", step, {name: v for name, v in values.items() if name != "step"})

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """See `Writer.image`."""
        self._each("image", step, name, image)

    def close(self) -> None:
        """See `Writer.close`."""
        self._each("close")

    def _each(self, method: str, *what: Any) -> None:
        for writer in self._writers:
            try:
                getattr(writer, method)(*what)
            except Exception as error:
                text = " ".join(str(error).split())[:300]
                kind = type(writer).__name__
                voice.warn(f"{kind}.{method} failed ({type(error).__name__}: {text}); going on")


WRITERS: dict[str, type] = {"wandb": WandB}
