"""A published model as a `Model`, and back: the same noun as a trained run gives."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffax.codecs import Latent, Pixels
from diffax.conditioning import Joined, Nothing
from diffax.generation import Model, Plan, Request
from diffax.models import UNet2DModel
from diffax.models.bound import BoundModule
from diffax.nearest import nearest
from diffax.pretrained.components import Components
from diffax.pretrained.conditioning import PublishedClasses, PublishedLabels, PublishedText
from diffax.pretrained.image_prompt import without_image_prompt
from diffax.pretrained.new_token import without_new_tokens
from diffax.pretrained.parts import parts_of, text_of
from diffax.pretrained.plan import plan
from diffax.pretrained.schedulers import Setup, from_diffusers
from diffax.pretrained.types import shown
from diffax.pretrained.upscaling import PublishedLowRes
from diffax.solvers import Solver

# Rows of a noise schedule's table that are still built.
MOST_TIMES = 10**6


@dataclass(frozen=True)
class Published:
    """How a published model is sampled where a request does not say.

    Attributes:
        scheduler: the content of `scheduler_config.json`, as JSON text.
        flags: those of `model_index.json`, likewise.
        low_res: the x4 upscaler's schedule of noise on small images, likewise.
        files: the JSON files that were read, likewise; see `Components`.
        steps: steps taken.
        guidance: scale of classifier-free guidance; None: none.
        num: samples where nothing says how many.
        seed: of the noise.
        batch_size: samples drawn at once, at most; None: all.
    """

    scheduler: str
    flags: str = "{}"
    low_res: str = "{}"
    files: str = dataclasses.field(default="{}", repr=False)
    steps: int = 30
    guidance: float | None = None
    num: int = 1
    seed: int = 0
    batch_size: int | None = None

    def plan(self, schedule: Any, parameterization: Any, request: Request | None = None) -> Plan:
        """The run that a request asks for, with the points and steps of the model's scheduler.

        Raises:
            ValueError: an unknown sampler, spacing or option, or more steps than the schedule has.
        """
        request = Request() if request is None else request
        options = dict(request.options)
        named = request.sampler is None or isinstance(request.sampler, str)
        eta = options.pop("eta", None) if named else None
        setup = plan(
            json.loads(self.scheduler),
            request.steps or self.steps,
            sampler=request.sampler,
            spacing=request.spacing,
            karras=request.karras,
            eta=eta,
            strength=1.0 if request.strength is None else request.strength,
            total=request.total,
        )
        solver = setup.solver
        if eta is not None and "eta" not in _options(solver):
            raise _unknown("eta", solver)
        for name, value in options.items():
            solver = _with_option(solver, name, value)
        return Plan(
            schedule=setup.schedule,
            parameterization=setup.parameterization,
            solver=solver,
            grid=setup.grid,
            start_scale=setup.start_scale,
            limits=setup.limits,
        )


def _options(solver: Solver) -> list[str]:
    """Fields that a request may set: those of the solver itself, inside what wraps it."""
    while hasattr(solver, "solver"):
        solver = solver.solver
    return [f.name for f in dataclasses.fields(solver) if f.name != "schedule"]


def _with_option(solver: Solver, name: str, value: Any) -> Solver:
    if name not in _options(solver):
        raise _unknown(name, solver)
    if hasattr(solver, "solver"):
        return dataclasses.replace(solver, solver=_with_option(solver.solver, name, value))
    try:
        return dataclasses.replace(solver, **{name: value})
    except TypeError as error:
        raise ValueError(f"sampler option {name} = {value!r}: {error}") from None


def _unknown(name: str, solver: Solver) -> ValueError:
    own = _options(solver)
    known = [f.name for f in dataclasses.fields(Request)] + own
    return ValueError(
        f"{name} is no field of a request and no option of this sampler (its options: "
        f"{', '.join(own) or 'none'}); {nearest(name, known)}"
    )


# ---------------------------------------------------------------- components <-> model


def model_of(components: Components) -> Model:
    """The model that components make.

    Raises:
        ValueError: classes that no request can say, or a scheduler without a counterpart here.
    """
    setup = _setup(components.scheduler)
    unet, vae = components.unet, components.vae
    texts = components.text_encoders
    settings = Published(
        scheduler=_text(components.scheduler),
        flags=_text(components.settings),
        low_res=_text(components.low_res_scheduler or {}),
        files=_text(components.files),
        guidance=7.5 if texts else None,
    )
    return Model(
        network=unet,
        schedule=setup.schedule,
        parameterization=setup.parameterization,
        codec=Pixels() if vae is None else Latent(vae.module, vae.params),
        conditioner=conditioner_of(components),
        settings=settings,
        shape=_shape(unet.module),
    )


def components_of(model: Model) -> Components:
    """The components of a published model, such as after fine-tuning; without add-ons.

    LoRAs are part of its kernels; controls, image prompts and new tokens have files of their own.

    Raises:
        ValueError: a model of another kind, for which there is no published layout.
    """
    if not isinstance(model.settings, Published):
        raise ValueError(
            "only models that came from load_pipeline have a published layout; a run of train.py "
            "is kept in its own folder"
        )
    parts, texts = parts_of(model), text_of(model)
    texts = None if texts is None else without_new_tokens(texts)
    classes = model.conditioner if isinstance(model.conditioner, PublishedClasses) else None
    latent = model.codec if isinstance(model.codec, Latent) else None
    return Components(
        unet=without_image_prompt(parts["unet"]),
        vae=None if latent is None else BoundModule(latent.module, latent.params),
        text_encoders=() if texts is None else texts.encoders,
        tokenizers=() if texts is None else texts.tokenizers,
        scheduler=json.loads(model.settings.scheduler),
        settings=json.loads(model.settings.flags),
        low_res_scheduler=_read(model.settings.low_res),
        class_embedder=None if classes is None else classes.embedder,
        files=json.loads(model.settings.files),
    )


def conditioner_of(components: Components) -> Any:
    """What tells the U-Net of prompts or classes; of the U-Net only its module is looked at."""
    unet, settings = components.unet.module, components.settings
    if components.class_embedder is not None:
        return PublishedClasses(components.class_embedder)
    if components.text_encoders:
        text = PublishedText(
            encoders=components.text_encoders,
            tokenizers=components.tokenizers,
            xl=components.xl,
            zeros_for_empty=bool(settings.get("force_zeros_for_empty_prompt", False)),
            aesthetics=components.xl and bool(settings.get("requires_aesthetics_score", False)),
            guidance_size=unet.time_cond_proj_dim,
        )
        if components.low_res_scheduler is None or components.vae is None:
            return text
        noising = from_diffusers(components.low_res_scheduler, 1, _class_name="DDIMScheduler")
        most = int(settings.get("max_noise_level", 350))
        factor = components.vae.module.factor
        return Joined((text, PublishedLowRes(noising.schedule, most, factor)))
    if not isinstance(unet, UNet2DModel):
        return Nothing()
    if unet.class_embed_type is not None:
        raise ValueError(
            f"class_embed_type {unet.class_embed_type!r} without a text cannot be asked for in a "
            "request; use load_network"
        )
    return Nothing() if unet.num_class_embeds is None else PublishedLabels(unet.num_class_embeds)


def _setup(scheduler: Mapping[str, Any]) -> Setup:
    """Of it only the noise schedule and the prediction are used."""
    total = scheduler.get("num_train_timesteps", 1000)
    if not isinstance(total, int) or not 1 <= total <= MOST_TIMES:
        raise ValueError(
            f"scheduler_config.json: num_train_timesteps must be a whole number from 1 to "
            f"{MOST_TIMES:,}, got {shown(total)}"
        )
    steps = min(Published.steps, total)
    try:
        return from_diffusers(scheduler, steps)
    except ValueError:
        # A sampler without a counterpart here: others may still be named in a request.
        return from_diffusers(scheduler, steps, _class_name="DDIMScheduler")


def _shape(unet: Any) -> tuple[int, int, int]:
    """Of one sample in model space; `sample_size` is a number or (height, width)."""
    size = unet.sample_size or 64
    height, width = (size, size) if isinstance(size, int) else size
    return (height, width, unet.out_channels)


def _read(text: str) -> Mapping[str, Any] | None:
    return json.loads(text) or None


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)
