"""One optimizer step of fine-tuning, in small: what the reference's script and the tests share."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))
import tiny_models as tiny

CASES = ("full", "prior", "lora", "textual_inversion", "controlnet")

LATENTS = tiny.draws("latents", 2, 8, 8, 4)
TIMES = np.array([20, 741])
CAPTIONS = ["a cat at cat!", "at (at"]
NEW_CAPTIONS = ["a <new> at", "cat <new>"]
PRIOR_WEIGHT = 0.5
GAMMA = 5.0  # of min-SNR, in the case "full"
RANK, ALPHA = 2, 4.0
VECTORS = 2

# epsilon is as large as the gradients are: with 1e-8 the first step is their sign, which rounding
# decides where they are nearly zero.
LEARNING_RATE, EPSILON, DECAY = 1e-2, 1e-3, 1e-2

CONTROL = {
    "conditioning_embedding_out_channels": [8, 16],
    "conditioning_channels": 3,
}


def control_image() -> np.ndarray:
    """An image to follow, two pixels a latent, uint8."""
    return np.rint((np.tanh(tiny.draws("control", 2, 16, 16, 3)) + 1) * 127.5).astype(np.uint8)


def low_rank(key: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Factors A `[r, in, ...]` and B `[out, r]` of the weight `[out, in, ...]` called `key`."""
    down = tiny.weight(f"down of {key}", (RANK, *shape[1:]))
    return down, 0.1 * tiny.weight(f"up of {key}", (shape[0], RANK))


def is_adapted(key: str) -> bool:
    """Whether the case "lora" corrects the weight called `key`."""
    parts = key.split(".")
    attention = parts[-2] in ("to_q", "to_k", "to_v", "q_proj", "k_proj", "v_proj", "out_proj")
    return parts[-1] == "weight" and (
        attention or parts[-3:-1] == ["to_out", "0"] or parts[-2] in ("conv1", "conv_in")
    )


PATTERN = r"(to_(q|k|v|out_0)|(q|k|v|out)_proj|conv1|conv_in)/kernel$"


def digest(name: str, change: np.ndarray) -> np.ndarray:
    """A few numbers of a tensor: its norm, and twelve entries at places that follow from `name`."""
    flat = np.asarray(change, np.float64).ravel()
    places = np.random.RandomState(zlib.crc32(name.encode())).randint(0, flat.size, 12)
    return np.concatenate([[np.linalg.norm(flat)], flat[places]]).astype(np.float32)
