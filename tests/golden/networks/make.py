"""Writes networks.npz: names, shapes and answers of the literature's own small networks.

Needs torch, timm (for DiT), and checkouts of the originals:

    python tests/golden/networks/make.py --edm DIR --dit DIR --guided DIR --tutorial DIR
    python tests/golden/networks/make.py --edm2 DIR

of NVlabs/edm, facebookresearch/DiT, openai/guided-diffusion, dome272/Diffusion-Models-pytorch and
NVlabs/edm2, whose modules have the names of edm's. A family that is left out keeps its answers.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))

import paper_networks  # noqa: E402

# What a network keeps beside its weights: computed by us, or one of our fields.
KEPT = ("pos_embed", "resample_filter")


def edm(case: paper_networks.Case) -> tuple[torch.nn.Module, dict]:
    fields = dict(case.original)
    cls = getattr(importlib.import_module("training.networks"), fields.pop("class"))
    channels = dict(in_channels=case.channels, out_channels=case.channels)
    told = {"class_labels": None}
    if "label" in case.told:
        told["class_labels"] = torch.eye(fields["label_dim"])[case.told["label"]]
    if "augment" in case.told:
        told["augment_labels"] = torch.from_numpy(case.told["augment"])
    return cls(img_resolution=case.size, **channels, **fields), told


def edm2(case: paper_networks.Case) -> tuple[torch.nn.Module, dict]:
    fields = dict(case.original)
    cls = getattr(importlib.import_module("training.networks_edm2"), fields.pop("class"))
    labels = torch.eye(fields["label_dim"])[case.told["label"]]
    network = cls(img_resolution=case.size, img_channels=case.channels, **fields)
    return network, {"class_labels": labels}


def dit(case: paper_networks.Case) -> tuple[torch.nn.Module, dict]:
    cls = importlib.import_module("models").DiT
    return cls(**case.original), {"y": torch.from_numpy(case.told["label"])}


def guided(case: paper_networks.Case) -> tuple[torch.nn.Module, dict]:
    fields = dict(case.original)
    cls = getattr(importlib.import_module("guided_diffusion.unet"), fields.pop("class"))
    told = {"y": torch.from_numpy(case.told["label"])} if "label" in case.told else {}
    return cls(**fields), told


def tutorial(case: paper_networks.Case) -> tuple[torch.nn.Module, dict]:
    """The original has one width and one size: its parts are replaced by narrower ones."""
    parts = importlib.import_module("modules")
    c, size, time = case.original["channels"], case.size, case.original["time_dim"]
    net = parts.UNet_conditional(
        time_dim=time, num_classes=case.original["num_classes"], device="cpu"
    )
    net.inc = parts.DoubleConv(3, c)
    net.bot1, net.bot2 = parts.DoubleConv(4 * c, 8 * c), parts.DoubleConv(8 * c, 8 * c)
    net.bot3, net.outc = parts.DoubleConv(8 * c, 4 * c), torch.nn.Conv2d(c, 3, 1)
    stages = [(c, 2 * c, 2), (2 * c, 4 * c, 4), (4 * c, 4 * c, 8)]
    for i, (before, after, smaller) in enumerate(stages, 1):
        setattr(net, f"down{i}", parts.Down(before, after, time))
        setattr(net, f"sa{i}", parts.SelfAttention(after, size // smaller))
    stages = [(8 * c, 2 * c, 4), (4 * c, c, 2), (2 * c, c, 1)]
    for i, (before, after, smaller) in enumerate(stages, 1):
        setattr(net, f"up{i}", parts.Up(before, after, time))
        setattr(net, f"sa{i + 3}", parts.SelfAttention(after, size // smaller))
    return net, {"y": torch.from_numpy(case.told["label"])}


FAMILIES = {"edm": edm, "edm2": edm2, "dit": dit, "guided": guided, "tutorial": tutorial}


@torch.no_grad()
def answered(case: paper_networks.Case) -> tuple[dict, np.ndarray]:
    """Names and shapes of the weights, and the answer in our layout."""
    network, told = FAMILIES[case.family](case)
    state = network.eval().state_dict()
    drawn = {
        name: torch.from_numpy(paper_networks.weight(name, tuple(value.shape)))
        for name, value in state.items()
        if not name.endswith(KEPT)
    }
    network.load_state_dict(state | drawn)
    x = torch.from_numpy(np.moveaxis(case.x, -1, 1).copy())
    t = torch.tensor(case.t)
    t = t.long() if case.family == "tutorial" else t
    out = network(x, t, **told).numpy()
    return {name: list(value.shape) for name, value in drawn.items()}, (
        np.moveaxis(out, 1, -1) if out.ndim == 4 else out
    )


def augmented() -> dict[str, np.ndarray]:
    """EDM's augmentation of four images, with chosen numbers for what it draws."""
    pipe = importlib.import_module("training.augment").AugmentPipe(
        p=1, xflip=1, yflip=1, scale=1, rotate_frac=1, aniso=1, translate_frac=1
    )
    x, changes = paper_networks.IMAGES, paper_networks.CHANGES
    turns = {name: (changes[name] / np.pi + 1) / 2 for name in ("angle", "axis")}
    happens = np.zeros(4)
    shifts = np.stack([changes["right"], changes["down"]])
    drawn = iter(
        [changes["mirrored"], happens, changes["upended"], happens, changes["scale"], happens]
        + [turns["angle"], happens, changes["stretch"], turns["axis"], happens, happens]
        + [shifts, happens]
    )

    def draw(*arguments: object, **_options: object) -> torch.Tensor:
        shape = next(a for a in arguments if isinstance(a, list))
        return torch.tensor(np.asarray(next(drawn), np.float32)).reshape(shape)

    kept = torch.rand, torch.randn, torch.randint
    torch.rand = torch.randn = torch.randint = draw
    try:
        images, labels = pipe(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    finally:
        torch.rand, torch.randn, torch.randint = kept
    return {
        "augmented images": np.moveaxis(images.numpy(), 1, -1),
        "augmented labels": labels.numpy(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for family in FAMILIES:
        parser.add_argument(f"--{family}", type=Path)
    folders = {name: folder for name, folder in vars(parser.parse_args()).items() if folder}
    sys.path[:0] = [str(folder) for folder in folders.values()]
    file = HERE / "networks.npz"
    golden = dict(np.load(file)) if file.exists() else {}
    for name, case in paper_networks.CASES.items():
        if case.family in folders:
            shapes, out = answered(case)
            golden |= {f"{name} weights": np.array(json.dumps(shapes)), f"{name} answer": out}
    if "edm" in folders:
        golden |= augmented()
    np.savez_compressed(file, **golden)


if __name__ == "__main__":
    main()
