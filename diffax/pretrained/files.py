"""One file of tensors, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from diffax.pretrained.pickled import PickledCheckpoint
from diffax.pretrained.weights import SafetensorsFiles, Tensors

PICKLED = (".ckpt", ".pt", ".pth", ".bin")


def open_file(file: str | Path) -> Tensors:
    """The tensors of a safetensors file, or of a pickle, which is read without running it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another ending, or a file that is unusable.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    if file.suffix == ".safetensors":
        return SafetensorsFiles(file)
    if file.suffix not in PICKLED:
        raise ValueError(
            f"{file}: expected a .safetensors or .ckpt file (or .pt, .pth, .bin), got "
            f"{file.suffix!r}"
        )
    return PickledCheckpoint(file)
