"""Writes inception.npz: what the reference programs make of the images of drawn_inception.py, and
the names and shapes of the weights.

Needs torch, torchvision, torch-fidelity and pytorch-fid (the `parity` extra). Run from anywhere:
`python tests/golden/evaluation/make_inception.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytorch_fid.inception
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "evaluation"))

from drawn_inception import SIZES, image, weight  # noqa: E402

EVERY = 8  # of the features and logits; of the resized images' rows and columns, 23


def state_dict() -> dict[str, torch.Tensor]:
    """The formula's weights, by the names that both programs use."""
    shapes = torch_fidelity_network(None).state_dict()
    return {key: torch.from_numpy(weight(key, tuple(v.shape))) for key, v in shapes.items()}


def torch_fidelity_network(state: dict[str, torch.Tensor] | None) -> torch.nn.Module:
    """torch-fidelity's network; it wants a file."""
    original, torch.nn.Module.load_state_dict = torch.nn.Module.load_state_dict, lambda *_: None
    try:
        with tempfile.NamedTemporaryFile(suffix=".pth") as file:
            torch.save({}, file.name)
            network = FeatureExtractorInceptionV3(
                "reference", ["2048", "logits_unbiased", "logits"], file.name
            )
    finally:
        torch.nn.Module.load_state_dict = original
    if state is not None:
        network.load_state_dict(state)
    return network.eval()


def pytorch_fid_network(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """pytorch-fid's network; it would download its weights."""
    original = pytorch_fid.inception.load_state_dict_from_url
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: state
    try:
        return pytorch_fid.inception.InceptionV3([3]).eval()
    finally:
        pytorch_fid.inception.load_state_dict_from_url = original


def nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(images, -1, 1).copy())


@torch.no_grad()
def reference(state: dict[str, torch.Tensor], sizes: tuple = SIZES) -> dict[str, np.ndarray]:
    """Features, logits and resized images, all of them."""
    ours = torch_fidelity_network(state)
    theirs = pytorch_fid_network(state)
    out: dict[str, list] = {}
    for size in sizes:
        x = nchw(image(*size))
        pooled, unbiased, logits = ours(x)
        tensorflow = interpolate_bilinear_2d_like_tensorflow1x(x.float(), (299, 299), None, False)
        unit = x.float() / 255
        pytorch = torch.nn.functional.interpolate(
            unit, size=(299, 299), mode="bilinear", align_corners=False
        )
        answers = {
            "pooled_tensorflow": pooled,
            "unbiased": unbiased,
            "logits": logits,
            "pooled_pytorch": theirs(unit)[0][:, :, 0, 0],
            "resized_tensorflow": torch.movedim((tensorflow - 128) / 128, 1, -1),
            "resized_pytorch": torch.movedim(2 * pytorch - 1, 1, -1),
        }
        for name, value in answers.items():
            out.setdefault(name, []).append(value.numpy())
    return {name: np.concatenate(values) for name, values in out.items()}


def main() -> None:
    state = state_dict()
    answers = {
        name: value[:, ::23, ::23] if value.ndim == 4 else value[:, ::EVERY]
        for name, value in reference(state).items()
    }
    names = [f"{name} {' '.join(map(str, value.shape))}" for name, value in state.items()]
    np.savez_compressed(HERE / "inception.npz", names=np.array(names), **answers)


if __name__ == "__main__":
    main()
