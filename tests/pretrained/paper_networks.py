"""Small networks of the literature: our fields, the originals', and inputs.

Weights follow from the originals' names (`tiny_models.weight`), so both sides have the same; only
the originals' names, shapes and answers are stored, by tests/golden/networks/make.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tiny_models

from diffax.models import ADM, DiT, EDM2UNet, NoisyClassifier, SongUNet, TutorialUNet


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of ours and how its original is made.

    Attributes:
        module: ours.
        family: "dit", "edm", "edm2", "guided" or "tutorial".
        original: the fields of the original's class.
        size: height and width.
        channels: of the input.
        t: two times.
        told: the condition.
        new_attention_order: guided-diffusion's flag.
    """

    module: Any
    family: str
    original: dict
    size: int = 8
    channels: int = 3
    t: tuple[float, float] = (3.0, 981.0)
    told: dict = dataclasses.field(default_factory=dict)
    new_attention_order: bool = False

    @property
    def x(self) -> np.ndarray:
        """The input, `[2, size, size, channels]`."""
        return tiny_models.draws("paper x", 2, self.size, self.size, self.channels)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The original's tensor called `name`."""
    return np.asarray(tiny_models.weight(name, shape))


LABELS = {"label": np.array([1, 4])}
AUGMENT = {"augment": tiny_models.draws("augment", 2, 9)}
SONG = {"channels": 16, "multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,)}
SONG_ORIGINAL = {
    "class": "SongUNet",
    "model_channels": 16,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
}
# Below 128 channels guided-diffusion's norms have another number of groups, see `group_count`.
GUIDED = {"channels": 128, "num_res_blocks": 1, "attention_resolutions": (2,)}
GUIDED_ORIGINAL = {
    "class": "UNetModel",
    "image_size": 4,
    "in_channels": 3,
    "model_channels": 128,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "num_head_channels": 64,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}

CASES = {
    "dit": Case(
        DiT(features=32, depth=2, num_heads=2, num_classes=5, learned_variance=True),
        "dit",
        {
            "input_size": 8,
            "patch_size": 2,
            "in_channels": 4,
            "hidden_size": 32,
            "depth": 2,
            "num_heads": 2,
            "num_classes": 5,
        },
        channels=4,
        told={"label": np.array([1, 5])},
    ),
    "ddpm++": Case(
        SongUNet(**SONG, num_classes=5, augment_size=9),
        "edm",
        SONG_ORIGINAL | {"label_dim": 5, "augment_dim": 9},
        told=LABELS | AUGMENT,
    ),
    "ncsn++": Case(
        SongUNet.ncsnpp(**SONG),
        "edm",
        SONG_ORIGINAL
        | {
            "embedding_type": "fourier",
            "channel_mult_noise": 2,
            "encoder_type": "residual",
            "resample_filter": [1, 3, 3, 1],
        },
        t=(-1.3, 0.4),
    ),
    "skip": Case(
        SongUNet(**SONG, encoder="skip", decoder="skip", taps=(1, 3, 3, 1)),
        "edm",
        SONG_ORIGINAL
        | {"encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1]},
    ),
    "adm of edm": Case(
        ADM(
            channels=64,
            multipliers=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(2,),
            num_classes=5,
            augment_size=9,
        ),
        "edm",
        {
            "class": "DhariwalUNet",
            "model_channels": 64,
            "channel_mult": [1, 2],
            "num_blocks": 1,
            "attn_resolutions": [2],
            "label_dim": 5,
            "augment_dim": 9,
        },
        size=4,
        t=(-1.3, 0.4),
        told=LABELS | AUGMENT,
    ),
    "edm2": Case(
        EDM2UNet(**SONG, head_size=16, num_classes=5),
        "edm2",
        SONG_ORIGINAL | {"class": "UNet", "channels_per_head": 16, "label_dim": 5},
        t=(-1.3, 0.4),
        told=LABELS,
    ),
    "adm": Case(
        ADM(**GUIDED, multipliers=(1, 1.5), num_classes=5, learned_variance=True),
        "guided",
        GUIDED_ORIGINAL | {"out_channels": 6, "channel_mult": (1, 1.5), "num_classes": 5},
        size=4,
        told=LABELS,
    ),
    "iddpm": Case(
        ADM(**GUIDED, multipliers=(1, 1), num_heads=4, resample="conv"),
        "guided",
        GUIDED_ORIGINAL
        | {
            "out_channels": 3,
            "channel_mult": (1, 1),
            "num_heads": 4,
            "num_head_channels": -1,
            "resblock_updown": False,
            "use_new_attention_order": True,
        },
        size=4,
        new_attention_order=True,
    ),
    "classifier": Case(
        NoisyClassifier(**GUIDED, multipliers=(1, 1), num_classes=5),
        "guided",
        GUIDED_ORIGINAL
        | {"class": "EncoderUNetModel", "out_channels": 5, "channel_mult": (1, 1)}
        | {"pool": "attention"},
        size=4,
    ),
    "tutorial": Case(
        TutorialUNet(channels=8, time_size=16, num_classes=5),
        "tutorial",
        {"channels": 8, "time_dim": 16, "num_classes": 5},
        told=LABELS,
    ),
}

# For EDM's augmentation: images, and what is done to each. The scale of the last one is so small
# that the original, too, continues the images by as much as it ever does.
IMAGES = tiny_models.draws("augmented", 4, 12, 16, 3)
CHANGES = {
    "mirrored": np.array([0.0, 1, 0, 1]),
    "upended": np.array([0.0, 0, 1, 1]),
    "scale": np.array([0.0, 1.0, -0.5, -9.0]),
    "angle": np.array([0.0, 0.4, -2.0, 3.0]),
    "stretch": np.array([0.0, -1.0, 1.5, 0.3]),
    "axis": np.array([0.0, 0.0, 0.7, -2.0]),
    "right": np.array([0.0, 0.8, -1.2, 0.0]),
    "down": np.array([0.0, -0.3, 0.5, 2.0]),
}
