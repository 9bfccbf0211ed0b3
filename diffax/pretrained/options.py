"""What a picture is made with: one set of options for all pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from diffax.solvers import Solver


@dataclasses.dataclass(frozen=True)
class Options:
    """Keyword arguments of `text_to_image` and its like.

    New values of `guidance`, `seed`, `eta` and the prompts run the same compiled program; new
    sizes, samplers or step counts compile once more, as does the first `guidance_rescale` above 0.

    Attributes:
        negative: what the pictures should not show, one text or one for each prompt. None is the
            empty text, or XL base's zeros.
        num: pictures for each prompt.
        steps: steps taken, which is the number of network calls of most samplers.
        sampler: a name of `diffax.solvers.registry`, a `Solver`, or None: the model's own.
        spacing: "leading", "linspace" or "trailing", or, with a `Solver`, any of
            `diffax.sampling.SPACINGS`; None: the model's own.
        karras: the noise levels of Karras et al. 2022 (eq. 5) instead of even times.
        eta: of stochastic samplers; None: the sampler's own.
        guidance: scale of classifier-free guidance (Ho & Salimans 2022), at least 1; None:
            unguided, at half the cost, for distilled models.
        guidance_rescale: 0..1, share of rescaling against over-exposure (Lin et al. 2023, 3.4).
        seed: a number, of which picture i takes the i-th part; or one number for each picture,
            which then is the same in any batch.
        height: in pixels; None: what the model was made for.
        width: in pixels; None: what the model was made for.
        clip_skip: so many last layers of the text encoders are left out.
        original_size: XL: height and width the picture pretends to have had; None: its size.
        crop: XL: top and left of the pretended crop.
        target_size: XL: height and width aimed at; None: its size.
        aesthetic_score: XL refiner: for the prompt.
        negative_aesthetic_score: XL refiner: for the negative prompt.
        noise: `[B, h, w, C]` standard normal latents to start from, instead of the seed's.
        tile: decode (and encode) large pictures in overlapping tiles of so many pixels.
        decode: False: return latents `[B, h, w, C]` instead of pictures.
        on_step: called on the host after every step, see `diffax.sample`; None costs nothing.
    """

    negative: str | Sequence[str] | None = None
    num: int = 1
    steps: int = 30
    sampler: str | Solver | None = None
    spacing: str | None = None
    karras: bool = False
    eta: float | None = None
    guidance: float | None = 7.5
    guidance_rescale: float = 0.0
    seed: int | Sequence[int] = 0
    height: int | None = None
    width: int | None = None
    clip_skip: int = 0
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)
    target_size: tuple[int, int] | None = None
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 2.5
    noise: Any | jax.Array = None
    tile: int | None = None
    decode: bool = True
    on_step: Callable[..., None] | None = None

    def __post_init__(self):
        if self.guidance is not None and self.guidance < 1:
            raise ValueError(
                f"guidance must be at least 1 (no guidance), or None, got {self.guidance}"
            )
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(f"guidance_rescale must be in [0, 1], got {self.guidance_rescale}")
        for name in ("num", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.clip_skip < 0:
            raise ValueError(f"clip_skip must be at least 0, got {self.clip_skip}")
