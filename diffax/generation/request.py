"""What is asked of a model: one record for every kind of generation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffax.solvers import Solver, registry


@dataclass(frozen=True)
class Request:
    """What `generate` shall make. What is left at None is the model's own.

    New values of guidance, seed, eta, labels, prompts and strength run the same compiled program;
    new sizes, samplers, spacings or step counts compile once more.

    Attributes:
        num: samples for each label or prompt; where there are none, samples in all.
        labels: classes, by number or name; one or several. None: all classes in turn.
        prompt: what the samples should show, one text or several; None is the empty text.
        negative: what they should not show, one text or one for each prompt. None is the empty
            text, or XL base's zeros.
        low_res: a small image `[h, w, C]`, or one for each sample `[B, h, w, C]`, to be enlarged:
            uint8, or floats in [-1, 1].
        spectrogram: what a vocoder's sound is to look like over time, `[F, M]` or `[B, F, M]`; see
            `conditioning.Spectrogram`.
        noise_level: standard deviation of the noise that hides the small image's faults; None: 0.
        guidance: scale of classifier-free guidance (Ho & Salimans 2022), finite, >= 0; 1 is none
            at half the cost.
        image_guidance: of models that edit an image as a text says, how much the image counts
            (Brooks et al. 2023); 1.5 by default.
        guidance_rescale: 0..1, share of rescaling against over-exposure (Lin et al. 2023, 3.4).
        sampler: a name of `diffax.solvers.registry`, another program's name such as
            "DPM++ 2M Karras", which may imply a spacing, or a `Solver`.
        options: the sampler's own options, such as `{"eta": 0.5}`; keyword arguments of `generate`
            that are no fields of this record land here.
        steps: steps taken.
        spacing: where the grid's times are placed.
        karras: the noise levels of Karras et al. 2022 (eq. 5).
        seed: a whole number, of which sample i takes the i-th part; or one for each sample, which
            then is the same in any batch.
        rows: numbers from 0 of those of the samples that are made; None: all. Several processes or
            jobs can so make parts of one set, each sample as it is in the whole.
        noise: standard normal noise to start from, `[B, ...]` in model space, instead of the
            seed's.
        prefix: of models of texts: how every sample begins, characters kept exactly.
        suffix: likewise how it ends; with both, the middle is made.
        image: to start from, `[H, W, C]` or `[B, H, W, C]`: uint8, or floats in [-1, 1]; of models
            of sequences, sound or time series, `[L, C]` or `[B, L, C]` as their data are.
        strength: share of the path that is run from `image`, in (0, 1]; 1 starts from pure noise.
            All steps are taken, whatever the strength.
        total: published models: steps of the whole run of which `strength` leaves the last `steps`,
            as diffusers counts them; None: the shortest such run.
        mask: `[H, W]` or `[B, H, W]`: what is white (1, true) is made anew, the rest of `image` is
            kept; of sequences `[L]`, `[L, C]` or `[B, L, C]`.
        height: of the samples, in pixels.
        width: likewise.
        latents: a state to go on from instead of noise, with `start_at`.
        start_at: share of the noise that is gone already, in (0, 1): XL's refiner.
        stop_at: share of the noise after which to stop, in (0, 1); samples stay in model space.
        batch_size: samples drawn at once, at most.
        tile: decode (and encode) large images in overlapping tiles of so many pixels.
        quick: compile in half the time into a slower program, on a CPU; see
            `diffax.compilation`. Numbers agree to rounding. None: as the model's settings say.
        decode: False: leave the samples in model space.
        trajectory: keep every state: mind the memory.
        on_step: called on the host after every step of every batch, see `diffax.sample`.
        depth: for a model that follows depth: how near everything is, `[h, w]` or `[B, h, w]`, of
            any size and unit, larger is nearer.
        control: what a ControlNet or T2I-Adapter follows, as `image` and of the samples' size; a
            list with one for each where there are several.
        control_scale: how much it counts, >= 0; 1 by default; or one for each control.
        control_guess: ControlNets follow the image though the prompt says nothing of it: the guess
            that guidance steers away from does not see it (guess mode).
        image_prompt: what an IP-Adapter's samples should resemble, as `image`, of any size.
        image_prompt_scale: how much it counts; 1 by default.
        clip_skip: so many last layers of the text encoders are left out.
        original_size: XL: height and width that the image pretends to have had.
        crop: XL: top and left of the pretended crop.
        target_size: XL: height and width aimed at.
        aesthetic_score: XL's refiner: for the prompt.
        negative_aesthetic_score: XL's refiner: for the negative prompt.
    """

    num: int | None = None
    labels: int | str | Sequence[int | str] | None = None
    prompt: str | Sequence[str] | None = None
    negative: str | Sequence[str] | None = None
    low_res: Any = None
    spectrogram: Any = None
    noise_level: float | None = None
    guidance: float | None = None
    image_guidance: float | None = None
    guidance_rescale: float = 0.0
    sampler: str | Solver | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    spacing: str | None = None
    karras: bool = False
    seed: int | Sequence[int] | None = None
    rows: Sequence[int] | None = None
    noise: Any = None
    prefix: str = ""
    suffix: str = ""
    image: Any = None
    strength: float | None = None
    total: int | None = None
    mask: Any = None
    height: int | None = None
    width: int | None = None
    latents: Any = None
    start_at: float | None = None
    stop_at: float | None = None
    batch_size: int | None = None
    tile: int | None = None
    quick: bool | None = None
    decode: bool = True
    trajectory: bool = False
    on_step: Callable[..., None] | None = None
    depth: Any = None
    control: Any = None
    control_scale: float | Sequence[float] | None = None
    control_guess: bool = False
    image_prompt: Any = None
    image_prompt_scale: float | None = None
    clip_skip: int | None = None
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    target_size: tuple[int, int] | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None

    def __post_init__(self) -> None:
        """Checks every value that can be judged without the model."""
        if isinstance(self.sampler, str):
            self._name_sampler(self.sampler)
        for name in ("num", "steps", "batch_size", "height", "width", "total"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**9:
                raise ValueError(f"{name} must be at least 1 (and at most 10^9), got {value}")
        guidance = self.guidance
        if guidance is not None and not (math.isfinite(guidance) and guidance >= 0):
            raise ValueError(f"guidance must be finite and at least 0, got {guidance}")
        image_guidance = self.image_guidance
        if image_guidance is not None and not (
            math.isfinite(image_guidance) and image_guidance >= 0
        ):
            raise ValueError(f"image_guidance must be finite and at least 0, got {image_guidance}")
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(f"guidance_rescale must be in [0, 1], got {self.guidance_rescale}")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ValueError(f"strength must be in (0, 1], got {self.strength}")
        if self.clip_skip is not None and self.clip_skip < 0:
            raise ValueError(f"clip_skip must be at least 0, got {self.clip_skip}")
        if self.mask is not None and self.image is None:
            raise ValueError("a mask needs the image it belongs to")
        for name in ("labels", "prompt"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | int) and len(value) == 0:
                raise ValueError(f"expected one of {name} or more, got none")
        if self.prompt is not None and not all(
            isinstance(p, str) and p.strip() for p in _listed(self.prompt)
        ):
            raise ValueError(
                f"expected one prompt or more, none of them empty, got {self.prompt!r}; "
                "give None for samples without a text"
            )

    def _name_sampler(self, asked: str) -> None:
        """Puts the registry's name, and the spacing that the given one implies, in their places."""
        name, spacing = registry.resolved(asked)
        object.__setattr__(self, "sampler", name)
        if spacing is None:
            return
        said = "karras" if self.karras else self.spacing
        if said not in (None, spacing):
            raise ValueError(f"{asked!r} implies spacing {spacing}, got {said} beside it")
        object.__setattr__(self, "spacing", spacing)

    @classmethod
    def of(cls, **given: Any) -> Request:
        """A request of keyword arguments, those that are no fields being the sampler's options."""
        known = {f.name for f in dataclasses.fields(cls)}
        fields = {name: value for name, value in given.items() if name in known}
        options = {name: value for name, value in given.items() if name not in known}
        fields["options"] = {**fields.get("options", {}), **options}
        return cls(**fields)

    @property
    def count(self) -> int:
        """Labels or prompts that were given; 1 where there are none."""
        listed = self.labels if self.labels is not None else self.prompt
        return 1 if listed is None else len(_listed(listed))

    def listed_labels(self) -> list[int | str]:
        """The labels as a list."""
        return _listed(self.labels)

    def texts(self, num: int) -> tuple[list[str], list[str]]:
        """A prompt and a negative one for each of `num` samples, those of a prompt together.

        Raises:
            ValueError: neither one negative prompt nor one for each prompt.
        """
        prompts = [""] if self.prompt is None else _listed(self.prompt)
        negatives = [""] if self.negative is None else _listed(self.negative)
        if len(negatives) not in (1, len(prompts)):
            raise ValueError(
                f"expected one negative prompt, or one for each of {len(prompts)} prompts, "
                f"got {len(negatives)}"
            )
        if len(negatives) == 1:
            negatives = negatives * len(prompts)
        each = num // len(prompts)
        return (
            [p for p in prompts for _ in range(each)],
            [n for n in negatives for _ in range(each)],
        )


def _listed(value: Any) -> list:
    if isinstance(value, str):
        return [value]
    try:
        return list(value)
    except TypeError:
        return [value]
