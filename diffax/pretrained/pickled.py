"""Tensors of a PyTorch `.ckpt` or `.pth` without running what is in it.

Such a file holds a pickle that describes tensors, and their raw bytes beside it. A pickle can name
any Python function and call it; here only the names a table of tensors needs are known, and any
other ends the reading.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from diffax.pretrained.containers import open_container
from diffax.pretrained.weights import Tensors

STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


@dataclasses.dataclass(frozen=True)
class _Stored:
    """A tensor's place: a storage in the archive, and a strided window of it."""

    storage: str
    dtype: Any
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _StorageType:
    dtype: Any


# Names that training frameworks leave beside the tensors. They stand for an object that does
# nothing; neither they nor their modules are imported.
INERT = (
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy", "dtype"),
)


class _Inert:
    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _known_names() -> dict[tuple[str, str], Any]:
    """What a pickle may refer to. Made anew for each file: a pickle can alter what it is given."""

    def rebuild_tensor(
        storage: tuple[str, Any],
        offset: int,
        shape: Iterable[int],
        strides: Iterable[int],
        *_training_state: object,
    ) -> _Stored:
        key, dtype = storage
        return _Stored(key, dtype, offset, tuple(shape), tuple(strides))

    def rebuild_parameter(data: _Stored, *_training_state: object) -> _Stored:
        return data

    return {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
        **{("torch", name): _StorageType(dtype) for name, dtype in STORAGES.items()},
        **{name: _Inert for name in INERT},
    }


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, dictionaries, lists and numbers; refuses everything else by name."""

    def __init__(self, file: IO[bytes], dtypes: dict[str, Any]) -> None:
        super().__init__(file)
        self._known = _known_names()
        self._dtypes = dtypes  # of the storages that were met

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}, which is not part of a table of tensors"
            )
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, Any]:
        # The sixth entry, of older files, is a window into another storage: long out of use.
        known = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[5:] in ((), (None,))
        if not (known and pid[0] == "storage"):
            raise pickle.UnpicklingError(f"unknown persistent object {pid!r:.80}")
        _, storage_type, key, _device, _length = pid[:5]
        if not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError(f"unknown storage type {storage_type!r:.80}")
        self._dtypes[str(key)] = storage_type.dtype
        return str(key), storage_type.dtype


class PickledCheckpoint(Tensors):
    """The tensors of a `.ckpt` or `.pth` file, read one at a time. Unpickles nothing but tensors.

    Args:
        file: as `torch.save` writes it, or wrote it before PyTorch 1.6.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, truncated, or one that holds code or foreign objects.
    """

    def __init__(self, file: Path) -> None:
        self._file = Path(file)
        if not self._file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        dtypes: dict[str, Any] = {}

        def load(opened: IO[bytes]) -> Any:
            try:
                return _TensorUnpickler(opened, dtypes).load()
            except Exception as error:  # a malformed pickle can raise nearly anything
                raise ValueError(
                    f"{file}: refused to unpickle: {error}. Use the safetensors form of this "
                    "checkpoint, or convert it on a machine you can afford to lose"
                ) from error

        def sizes() -> dict[str, int]:
            return {key: np.dtype(dtype).itemsize for key, dtype in dtypes.items()}

        self._container = open_container(self._file, load, sizes)
        content = self._table(self._container.content)
        if not isinstance(content, dict):
            raise ValueError(f"{file}: expected a table of tensors, got {type(content).__name__}")
        self._tensors = {str(k): v for k, v in content.items() if isinstance(v, _Stored)}
        if not self._tensors:
            raise ValueError(f"{file}: no tensors in it")
        super().__init__(self._tensors)
        for name in self._tensors:
            self._check_bounds(name)

    def _table(self, content: Any) -> Any:
        """The innermost `state_dict`."""
        seen = set()
        while isinstance(content, dict) and isinstance(dict.get(content, "state_dict"), dict):
            if id(content) in seen:
                raise ValueError(f"{self._file}: its state_dict contains itself; not a checkpoint")
            seen.add(id(content))
            content = content["state_dict"]
        return content

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._tensors[name]
        try:
            raw = self._container.read(stored.storage)
        except ValueError as error:
            raise ValueError(
                f"{self._file}: tensor {name!r} is damaged ({error}); download it again"
            ) from error
        flat = np.frombuffer(raw, stored.dtype)[stored.offset :]
        strides = tuple(s * flat.itemsize for s in stored.strides)
        return np.lib.stride_tricks.as_strided(flat, stored.shape, strides, writeable=False)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the archive's table."""
        return self._tensors[name].shape

    def _check_bounds(self, name: str) -> None:
        """A window must lie inside its storage, or reading it would leave the buffer."""
        stored = self._tensors[name]
        numbers = (stored.offset, *stored.shape, *stored.strides)
        size = self._container.size(stored.storage)
        if size is None or stored.dtype not in STORAGES.values():
            raise ValueError(f"{self._file}: tensor {name!r} has no data in the archive")
        sound = all(type(n) is int and n >= 0 for n in numbers)
        sound = sound and len(stored.shape) == len(stored.strides)
        if sound and math.prod(stored.shape):
            steps = zip(stored.shape, stored.strides, strict=True)
            last = stored.offset + sum((n - 1) * step for n, step in steps)
            sound = (last + 1) * np.dtype(stored.dtype).itemsize <= size
        if not sound:
            raise ValueError(f"{self._file}: tensor {name!r} reaches outside its data")
