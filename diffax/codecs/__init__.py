"""Codecs: raw data <-> the space in which the diffusion model lives.

`encode(raw, key) -> x0` and `decode(x) -> data`; a codec's parameters are leaves of the noun.
"""

from diffax.codecs.codec import Codec, Written, is_written
from diffax.codecs.codes import Codes
from diffax.codecs.images import Pixels
from diffax.codecs.latent import Latent
from diffax.codecs.tokens import Levels, Tokens
from diffax.codecs.vectors import Identity, Standardize
from diffax.codecs.waveform import Waveform

# Names on command lines and in the JSON of a run.
BY_NAME: dict[str, type] = {
    "pixels": Pixels,
    "standardize": Standardize,
    "identity": Identity,
    "waveform": Waveform,
    "levels": Levels,
    "tokens": Tokens,
}

__all__ = [
    "BY_NAME",
    "Codec",
    "Codes",
    "Identity",
    "Latent",
    "Levels",
    "Pixels",
    "Standardize",
    "Tokens",
    "Waveform",
    "Written",
    "is_written",
]
