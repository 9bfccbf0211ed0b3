"""What other programs call a sampler, as words that can be looked up."""

from __future__ import annotations

import re

# Words for the places of a grid's points in other programs' names of samplers -> `time_grid`'s.
SPACINGS = {
    "karras": "karras",
    "exponential": "exponential",
    "beta": "beta",
    "sgmuniform": "trailing",
}
_FILLERS = ("k", "sample", "sampler", "scheduler")


def split(name: str) -> tuple[str, str | None]:
    """A name as one word without its spacing, and the spacing.

    Args:
        name: as another program writes it, or one of ours.

    Returns:
        Small letters and digits, `+` being `p`; and a spacing of `diffax.time_grid`, or None.

    Example:
        >>> split("DPM++ 2M Karras")
        ('dpmpp2m', 'karras')
        >>> split("k_euler_a"), split("FlaxDDIMScheduler")
        (('eulera', None), ('ddimscheduler', None))
    """
    words = re.findall("[a-z0-9]+", name.lower().replace("+", "p"))
    word = "".join(word for word in words if word not in _FILLERS).removeprefix("flax")
    for said, spacing in SPACINGS.items():
        if word.endswith(said) and word != said:
            return word.removesuffix(said), spacing
    return word, None
