"""Conditioners: what a run or a request is told becomes the network's condition.

Told:       arrays of what was said, one row a sample: {"label"}, {"tokens"}, ...
Condition:  what the network takes: {"label"}, {"context", "pooled"}, ...; {} where there is none.
"""

from diffax.conditioning.captions import Captions
from diffax.conditioning.conditioner import Condition, Conditioner, Told
from diffax.conditioning.control import Control
from diffax.conditioning.edited_image import EditedImage
from diffax.conditioning.features import Features
from diffax.conditioning.joined import Joined
from diffax.conditioning.labels import Labels
from diffax.conditioning.low_res import LowRes
from diffax.conditioning.nothing import Nothing
from diffax.conditioning.spectrogram import Spectrogram

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "nothing": Nothing,
    "labels": Labels,
    "captions": Captions,
    "low_res": LowRes,
    "spectrogram": Spectrogram,
}

__all__ = [
    "BY_NAME",
    "Captions",
    "Condition",
    "Conditioner",
    "Control",
    "EditedImage",
    "Features",
    "Joined",
    "Labels",
    "LowRes",
    "Nothing",
    "Spectrogram",
    "Told",
]
