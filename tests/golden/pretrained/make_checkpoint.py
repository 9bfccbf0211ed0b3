"""Writes tiny.ckpt with torch.save, and with what training frameworks leave in such a file; and
tiny_legacy.pth with the same tensors as PyTorch wrote them before 1.6.

The values are tiny_models.weight(name, shape), see test_pickled.py.
"""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))

import tiny_models  # noqa: E402


def tensor(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(tiny_models.weight(name, shape))


def main() -> None:
    whole = tensor("whole", 6, 4)
    state = OrderedDict(
        plain=tensor("plain", 3, 2),
        half=tensor("half", 5).half(),
        bfloat=tensor("bfloat", 5).bfloat16(),
        transposed=tensor("transposed", 4, 3).t(),
        whole=whole,
        lower=whole[3:],
        scalar=torch.tensor(7),
        parameter=torch.nn.Parameter(tensor("parameter", 2, 2)),
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    # A class whose module is not installed here: only its name goes into the file.
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    content = {
        "epoch": 3,
        "state_dict": state,
        "callbacks": {module.ModelCheckpoint: {"best": 0.5}},
        "optimizer_states": [],
    }
    torch.save(content, HERE / "tiny.ckpt")
    torch.save(state, HERE / "tiny_legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
