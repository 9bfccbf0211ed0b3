"""The only generator: a model and a request, to samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from diffax.categorical import Process
from diffax.compilation import compiler_options, llvm_level
from diffax.denoiser import Denoiser, Network
from diffax.generation.edit import Edit, Start, edit_of, instructed
from diffax.generation.model import Model
from diffax.generation.plan import Plan, cut
from diffax.generation.request import Request
from diffax.generation.samples import Samples
from diffax.guidance import ClassifierFree, Instructed
from diffax.sampling import sample
from diffax.schedules import Point
from diffax.solvers import Solver, initial_noise, registry

# What only a conditioner can answer; the rest of a request is answered here.
_SAID = (
    "labels",
    "prompt",
    "negative",
    "control",
    "control_scale",
    "control_guess",
    "low_res",
    "noise_level",
    "spectrogram",
    "image_prompt",
    "image_prompt_scale",
    "clip_skip",
    "original_size",
    "crop",
    "target_size",
    "aesthetic_score",
    "negative_aesthetic_score",
)


def generate(model: Model, request: Request | None = None, **options: Any) -> Samples:
    """Draws samples, the same for (seed, i) whatever their number and the batch size.

    Args:
        model: see `load_run` and `load_pipeline`.
        request: what to make.
        **options: fields of a `Request`, instead of one or on top of it; what is no field of it is
            an option of the sampler, such as `eta`.

    Returns:
        `Samples`; N = labels or prompts x `num`, or those `rows` of them.

    Raises:
        ValueError: what the model cannot be asked, or a request that contradicts itself.

    Example:
        >>> from diffax.generation import Sampling
        >>> from diffax import codecs, conditioning, parameterization, schedules
        >>> from diffax.models import BoundModule, VectorMLP
        >>> network = VectorMLP(features=16)
        >>> params = network.init(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1))
        >>> model = Model(BoundModule(network, params), schedules.cosine(100),
        ...     parameterization.V(), codecs.Identity(), conditioning.Nothing(),
        ...     Sampling(steps=5), (2,))
        >>> generate(model, num=3, seed=1).data.shape
        (3, 2)
    """
    request = _merged(request, options)
    _check(model, request)
    settings = model.settings
    codec = model.codec
    if request.tile is not None:
        codec = _tiled(codec, request.tile)
    each = request.num or (settings.num if request.count == 1 else 1)
    num = each * request.count
    request = dataclasses.replace(request, num=each)
    edit = edit_of(model, codec, request, num)
    shape = edit.shape
    plan = settings.plan(model.schedule, model.parameterization, request)
    for name, part in (("stop_at", "before"), ("start_at", "after")):
        if getattr(request, name) is not None:
            plan = cut(plan, getattr(request, name), part)
    asked, avoided = model.conditioner.request(_sized(model, request, shape), num)
    seeds, indices = _seeds(settings.seed if request.seed is None else request.seed, num)
    noise = _given_noise(request.noise, (num, *shape))

    chosen = _chosen(request.rows, num)
    size = min(len(chosen), request.batch_size or settings.batch_size or num)
    xs, states = [], []
    for start in range(0, len(chosen), size):
        # A short last batch is filled up, so that it runs the same program.
        rows = chosen[np.minimum(np.arange(start, start + size), len(chosen) - 1)]
        batch = _rows((asked, avoided, seeds, indices, noise, edit.arrays), rows)
        batch = _spread(model, batch)
        drawn, path = _batch(model, plan, edit, request, shape, *batch)
        count = min(size, len(chosen) - start)
        xs.append(_kept(drawn, count))
        if path is not None:
            states.append(_to_host(path)[:, :count])
    x = xs[0] if len(xs) == 1 else np.concatenate([np.asarray(part) for part in xs])
    captions = _captions(model, request, asked, num)
    in_model_space = not request.decode or request.stop_at is not None
    return Samples(
        data=x if in_model_space else codec.decode(jnp.asarray(x)),
        x=x,
        told=_rows(asked, chosen),
        captions=tuple(captions[row] for row in chosen) if captions else (),
        states=np.concatenate(states, axis=1) if states else None,
        times=np.asarray(plan.grid.t) if states else None,
        codec=None if in_model_space else codec,
    )


def _captions(model: Model, request: Request, asked: dict[str, Any], num: int) -> tuple[str, ...]:
    """What each sample was told, in words."""
    if request.prompt is not None:
        return tuple(request.texts(num)[0])
    names = getattr(model.conditioner, "names", ())
    if not names or "label" not in asked:
        return ()
    return tuple([*names, "no class"][min(label, len(names))] for label in asked["label"])


def _batch(
    model: Model,
    plan: Plan,
    edit: Edit,
    request: Request,
    shape: tuple[int, ...],
    asked: dict[str, Any],
    avoided: dict[str, Any],
    seeds: np.ndarray,
    indices: np.ndarray,
    noise: np.ndarray | None,
    known: dict[str, Array],
) -> tuple[Array, Array | None]:
    """One batch: conditions, the guided denoiser, the loop."""
    seen = edit.channels(known)
    condition = _encoded(model.conditioner, asked) | seen
    guidance = model.settings.guidance if request.guidance is None else request.guidance
    embed = getattr(model.conditioner, "guidance_condition", None)
    if embed is not None:  # a distilled model takes the scale as a condition
        condition, guidance = condition | embed(guidance, len(seeds)), None
    guided = condition and guidance is not None and guidance != 1
    network = Network(
        model.network.module.apply, model.network.params, condition, plan.parameterization
    )
    denoiser: Denoiser = network
    if guided:
        null = _encoded(model.conditioner, avoided) | seen
        denoiser = ClassifierFree(network, null, guidance, request.guidance_rescale or None)
        if edit.instructed:
            image_scale = 1.5 if request.image_guidance is None else request.image_guidance
            nothing = null | {"channels": jnp.zeros_like(seen["channels"])}
            denoiser = Instructed(network, null, nothing, guidance, image_scale)
    denoiser = plan.limits(denoiser)
    # As NumPy arrays these go to every device that the parameters live on.
    solver, grid, scale = jax.device_get((plan.solver, plan.grid, plan.start_scale))
    quick = getattr(model.settings, "quick", False) if request.quick is None else request.quick
    draw = _draw(quick=bool(quick))
    return draw(
        denoiser,
        solver,
        grid,
        scale,
        edit.dynamic(known),
        model.process,
        noise,
        seeds,
        indices,
        shape=shape,
        trajectory=request.trajectory,
        on_step=request.on_step,
    )


def _drawn(
    denoiser: Denoiser,
    solver: Solver,
    grid: Point,
    scale: Array,
    start: Start,
    process: Process,
    noise: Array | None,
    seeds: Array,
    indices: Array,
    *,
    shape: tuple[int, ...],
    trajectory: bool,
    on_step: Callable[..., None] | None,
) -> tuple[Array, Array | None]:
    keys = jax.vmap(lambda seed, i: jax.random.fold_in(jax.random.key(seed), i))(seeds, indices)
    if noise is None:
        noise = initial_noise(keys, shape)
    denoiser, solver, x = start.started(denoiser, solver, grid, scale, noise, process)
    if trajectory:
        x, states = sample(denoiser, solver, grid, x, keys, True, on_step)
    else:
        x, states = sample(denoiser, solver, grid, x, keys, False, on_step), None
    return start.finished(x), states


_STATIC = ("shape", "trajectory", "on_step")


@cache
def _draw(*, quick: bool) -> Callable[..., Any]:
    # Made when it is first needed: its options depend on the devices.
    options = compiler_options(quick=True) if quick else llvm_level(1)
    return jax.jit(_drawn, static_argnames=_STATIC, compiler_options=options)


# ---------------------------------------------------------------- what is asked


def _merged(request: Request | None, options: dict[str, Any]) -> Request:
    if request is None:
        return Request.of(**options)
    given = Request.of(**options)
    known = {f.name for f in dataclasses.fields(Request)} & set(options)
    changes = {name: options[name] for name in known}
    changes["options"] = {**request.options, **given.options}
    return dataclasses.replace(request, **changes)


def _check(model: Model, request: Request) -> None:
    """Refuses what the model cannot be asked."""
    asks = model.conditioner.asks
    default = Request()
    for name in _SAID:
        value = getattr(request, name)
        if value is None or name in asks:
            continue
        if np.ndim(value) > 0 or value != getattr(default, name):
            understood = ", ".join(asks) or "nothing"
            raise ValueError(
                f"{name} says nothing to this model, which is conditioned on {understood}; "
                "leave it out"
            )
    if not asks and request.guidance not in (None, 1):
        raise ValueError(
            "guidance needs a model with a condition (classes or texts); this one has none"
        )
    if request.guidance_rescale and getattr(model.parameterization, "discrete", False):
        raise ValueError("guidance_rescale is against over-exposed images; this model makes tokens")
    if request.image_guidance is not None and not instructed(model):
        raise ValueError("image_guidance is for models that edit an image as a text says")
    if request.labels is not None:
        labels = request.listed_labels()
        known = getattr(model.conditioner, "numbers", None)
        if known is not None:
            known(labels)
    if isinstance(request.sampler, str):
        if registry.lookup(request.sampler).description.backwards:
            raise ValueError(
                f"sampler {request.sampler} goes from an image to noise and makes no samples; "
                "see diffax.sampling.invert and diffax.sampling.interpolate"
            )


def _sized(model: Model, request: Request, shape: tuple[int, ...]) -> Request:
    """The request with the samples' height and width in pixels, which XL is told."""
    if len(shape) != 3:
        return request
    height, width = (n * model.factor for n in shape[:2])
    return dataclasses.replace(request, height=height, width=width)


def _seeds(seed: Any, num: int) -> tuple[np.ndarray, np.ndarray]:
    """A seed a sample, uint32, and the sample's index among those of its seed."""
    if np.ndim(seed) == 0:
        _check_seed(seed)
        return np.full(num, seed, np.uint32), np.arange(num, dtype=np.int32)
    if len(seed) != num:
        raise ValueError(f"expected one seed, or one for each of {num} samples, got {len(seed)}")
    for one in seed:
        _check_seed(one)
    return np.asarray(seed, np.uint32), np.zeros(num, np.int32)


def _check_seed(seed: Any) -> None:
    if int(seed) != seed or not 0 <= seed < 2**32:
        raise ValueError(f"seeds are whole numbers from 0 to 4294967295, got {seed}")


def _chosen(rows: Any, num: int) -> np.ndarray:
    """Numbers of the samples that are made, int `[N]`."""
    if rows is None:
        return np.arange(num)
    chosen = np.asarray(rows)
    whole = chosen.ndim == 1 and chosen.dtype.kind in "iu" and len(chosen)
    if not whole or chosen.min() < 0 or chosen.max() >= num:
        raise ValueError(f"rows: expected one or more whole numbers from 0 to {num - 1}")
    return chosen


def _given_noise(noise: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if noise is None:
        return None
    noise = np.asarray(noise, np.float32)
    if noise.shape != shape:
        raise ValueError(f"expected noise of shape {list(shape)}, got {list(noise.shape)}")
    return noise


def _tiled(codec: Any, tile: int) -> Any:
    if not hasattr(codec, "tiled"):
        raise ValueError(
            "tile is for models with an autoencoder, whose images are decoded in parts; this one "
            "makes its data directly: leave it out"
        )
    return codec.tiled(tile)


# ---------------------------------------------------------------- batches and devices


def _encoded(conditioner: Any, told: dict[str, Any]) -> dict[str, Any]:
    """The condition; compiled where an encoder has to run."""
    if not jax.tree.leaves(conditioner.params):
        return conditioner.encode({}, told)
    return _encode(conditioner, told)


@jax.jit
def _encode(conditioner: Any, told: dict[str, Any]) -> dict[str, Any]:
    return conditioner.encode(conditioner.params, told)


def _rows(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _spread(model: Model, batch: Any) -> Any:
    """The batch over the model's devices."""
    if model.mesh is None:
        return batch
    axis = model.mesh.axis_names[0]
    count = model.mesh.shape[axis]
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % count:
        raise ValueError(f"a batch of {size} samples cannot be split over {count} devices")
    return jax.device_put(batch, NamedSharding(model.mesh, PartitionSpec(axis)))


def _kept(x: Array, count: int) -> Array | np.ndarray:
    return x[:count] if x.is_fully_addressable else _to_host(x)[:count]


def _to_host(x: Array) -> np.ndarray:
    if x.is_fully_addressable:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)
