"""Denoising: the simple loss for any network, schedule, parameterization, codec and condition."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import adapters, codecs, conditioning, losses, parameterization, schedules
from diffax.data import Spec
from diffax.denoiser import Network
from diffax.generation import Model
from diffax.losses import LearnedVariance, Uncertainty, diffusion_loss
from diffax.models import BoundModule
from diffax.models.condition import check_attention
from diffax.objectives import fitting
from diffax.objectives.augmentation import NonLeaking
from diffax.objectives.couplings import Coupling, Independent, columns_of
from diffax.objectives.objective import ASSIGNED, Batch, Mean
from diffax.schedules import Discrete, LearnedLinear, Point, Schedule, warn_if_signal_remains

BUCKETS = 4  # quartiles of the time
_BY_DTYPE = {"uint8": codecs.Pixels, "int16": codecs.Waveform}  # all else: Standardize
_UNCERTAINTY = "uncertainty"  # the entry of `trainable` that holds its parameters


@dataclass(frozen=True)
class Denoising:
    """A network learns to take the noise out of data (Ho et al. 2020), as plain data of a recipe.

    Example:
        >>> from diffax.data import Toy
        >>> from diffax.models import VectorMLP
        >>> recipe = Denoising(network=VectorMLP(features=16))
        >>> objective = recipe.build(Toy("moons").load().spec)
        >>> objective.shape
        (2,)
    """

    network: Any
    """The Flax module: unet, vector_mlp, step_mlp, or one of your own."""
    schedule: Any = schedules.Cosine()
    """The noise schedule: linear, cosine, sigmoid, vp, edm, ... with numbers of their own."""
    parameterization: Any = parameterization.Eps()
    """What the network is asked for: eps, x0, v, velocity, flow, edm, vdm."""
    times: Any = losses.Uniform()
    """Where in time the loss looks: uniform, antithetic, stratified, log_normal, logit_normal,
    shifted, even_logsnr, second_moment."""
    weighting: Any = losses.Constant()
    """How much every example counts: constant, min_snr, p2, edm, likelihood."""
    coupling: Any = Independent()
    """Which noise goes with which data: independent, optimal_transport, paired."""
    variance: LearnedVariance | None = None
    """None: the reverse step's variance is fixed; learned: the network learns it, too."""
    uncertainty: Uncertainty | None = None
    """None; learned: how large the loss is at each noise level is learned along, so that all levels
    count alike (EDM2)."""
    conditioner: Any = None
    """What the network is told: nothing, labels, captions; None: labels where the data have any."""
    codec: Any = None
    """Data <-> model space: pixels, standardize, identity, waveform; None: by the kind of data."""
    adapter: Any = adapters.Everything()
    """Which parameters are learned: everything, subset, low_rank."""
    noise_offset: float = 0.0
    """Of a normal number added to all noise of a channel, the standard deviation, in [0, 1]; 0.05
    to 0.1 lets a tuned model make very dark and very bright images."""
    augmentation: NonLeaking | None = None
    """None; non_leaking: images are changed at random, and the network is told how (EDM)."""

    def __post_init__(self) -> None:
        """Checks the offset."""
        if not 0 <= self.noise_offset <= 1:
            raise ValueError(f"objective.noise_offset must lie in 0 to 1, got {self.noise_offset}")

    def build(self, spec: Spec, kind: type[DenoisingObjective] | None = None) -> DenoisingObjective:
        """The objective for data that say this of themselves.

        Args:
            spec: of the data.
            kind: its class; None: `DenoisingObjective`.

        Raises:
            ValueError: parts that do not fit each other or the data, in one line.
        """
        column = spec.columns["x"]
        codec = self.codec
        if codec is None:
            codec = _BY_DTYPE.get(column.dtype, codecs.Standardize)()
        codec = codec.fitted(spec)
        conditioner = self.conditioner
        if conditioner is None:
            labelled = "label" in spec.columns
            conditioner = conditioning.Labels() if labelled else conditioning.Nothing()
        conditioner = conditioner.fitted(spec)
        fitting.check_captions(spec, conditioner)
        schedule = self.schedule.build()
        if isinstance(schedule, Discrete):
            warn_if_signal_remains(schedule, name=f"schedule {type(self.schedule).__name__}")
        elif self.variance is not None:
            raise ValueError("a learned variance needs a schedule that is a table, such as cosine")
        target = self.parameterization
        if hasattr(target, "open"):  # a published model's
            target = target.open()
        if hasattr(target, "on"):  # it is of the path
            target = target.on(schedule)
        network, loaded = self.network, {}
        if hasattr(network, "open"):  # a published network to start from
            network, loaded["network"] = network.open()
        for part, noun in (("codec", codec), ("conditioner", conditioner)):
            if jax.tree.leaves(noun.params):
                loaded[part] = noun.params
        columns_of(self.coupling, spec.blank())
        objective = (kind or DenoisingObjective)(
            told=fitting.told(conditioner, spec),
            network=network,
            schedule=schedule,
            parameterization=target,
            times=self.times,
            weighting=self.weighting,
            coupling=self.coupling,
            variance=self.variance,
            uncertainty=self.uncertainty,
            conditioner=conditioner,
            codec=codec,
            adapter=self.adapter,
            noise_offset=self.noise_offset,
            augmentation=self.augmentation,
            shape=codec.shape(column.shape),
            loaded=loaded,
            sources=fitting.sources(self),
            encoded=False,
        )
        objective = dataclasses.replace(objective, network=fitting.fitted(network, objective))
        objective.check_network(spec)
        return objective


class Shown(NamedTuple):
    """What a loss looks at; see `DenoisingObjective.shown`.

    Attributes:
        network: the denoiser that learns, told its condition.
        schedule: with its parameters, where it is learned.
        x0: the data in model space, `[B, ...]`.
        key: of times and noise.
    """

    network: Network
    schedule: Schedule
    x0: Array
    key: Array


@dataclass(frozen=True)
class DenoisingObjective:
    """`Denoising`, built for one data set; see `Objective`.

    Attributes, besides those of `Denoising`:
        told: shapes of what one example says, as the conditioner reads it.
        shape: of one example in model space.
        loaded: see `Objective`.
        sources: see `Objective`.
        encoded: whether training's batches are in model space already.
    """

    told: Mapping[str, jax.ShapeDtypeStruct]
    network: Any
    schedule: Schedule
    parameterization: Any
    times: Any
    weighting: Any
    coupling: Coupling
    variance: LearnedVariance | None
    uncertainty: Uncertainty | None
    conditioner: Any
    codec: Any
    adapter: Any
    noise_offset: float
    augmentation: NonLeaking | None
    shape: tuple[int, ...]
    loaded: Any
    sources: Mapping[str, str]
    encoded: bool

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`{"x": raw data, ...}` with what the conditioner reads, as numbers, and "weight"."""
        given = {name: batch[name] for name in ("x", "weight") if name in batch}
        return given | columns_of(self.coupling, batch) | self.conditioner.columns(batch)

    def init(self, key: Array, batch: Batch, loaded: Any) -> tuple[Any, Any]:
        """`(trainable, frozen)`; `batch` gives shapes, its first example a real condition."""
        network_key, conditioner_key, adapter_key = jax.random.split(key, 3)
        reader = loaded.get("conditioner", None)
        if reader is None:
            reader = self.conditioner.init(conditioner_key)
        learned = {}
        if "network" in loaded:
            learned["network"] = loaded["network"]
        else:
            x, t, condition = self._inputs(batch, reader)
            learned["network"] = self.network.init(network_key, x, t, condition)
        if reader and self.conditioner.trained:
            learned["conditioner"] = reader
        if isinstance(self.schedule, LearnedLinear):
            learned["schedule"] = self.schedule.params
        trainable, rest = self.adapter.init(adapter_key, learned)
        if isinstance(self.times, losses.SecondMoment):
            trainable = trainable | {ASSIGNED: {"times": self.times.init()}}
        if self.uncertainty is not None:
            trainable = trainable | {_UNCERTAINTY: self.uncertainty.init()}
        frozen = {"adapter": rest} if jax.tree.leaves(rest) else {}
        if reader and not self.conditioner.trained:
            frozen["conditioner"] = reader
        if "codec" in loaded:
            frozen["codec"] = loaded["codec"]
        return trainable, frozen

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """The weighted loss, and its unweighted mean in the four quartiles of time."""
        shown = self.shown(trainable, frozen, batch, key, train)
        times = self._times(trainable, train)
        value, parts = diffusion_loss(
            shown.network.apply,
            shown.network.params,
            shown.x0,
            shown.key,
            schedule=shown.schedule,
            parameterization=self.parameterization,
            times=times,
            weighting=self.weighting,
            condition=shown.network.condition,
            variance=self.variance,
            couple=lambda x0, eps: self.coupling(x0, eps, batch),
            noise_offset=self.noise_offset,
            importance=batch.get("weight"),
            log_variance=self._log_variance(trainable, train),
        )
        point = shown.schedule.at(parts["t"])
        if isinstance(times, losses.SecondMoment):
            becomes = {"times": times.after(point, shown.schedule, parts["loss"])}
            value += losses.assignment(trainable[ASSIGNED], becomes)
        metrics = quartiles(times.rank(point, shown.schedule), parts["mse"])
        if "vlb" in parts:
            metrics["vlb"] = jnp.mean(parts["vlb"])
        return value, metrics

    def shown(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> Shown:
        """What a loss looks at: the network with its condition, and the data in model space."""
        drop_key, noise_key, dropout_key = jax.random.split(key, 3)
        params, schedule, conditioner, codec = self._parts(trainable, frozen)
        told = {name: batch[name] for name in self.told}
        if train:
            told = conditioner.drop(drop_key, told)
        condition = _read(self.network, conditioner.encode(conditioner.params, told))
        x0 = self._clean(codec, batch["x"], jax.random.fold_in(noise_key, 1))
        if train and self.augmentation is not None:
            x0, condition["augment"] = self.augmentation(jax.random.fold_in(noise_key, 2), x0)

        def apply(params: Any, x: Array, t: Array, condition: Any) -> Array:
            return self.network.apply(
                params, x, t, condition, train=train, rngs={"dropout": dropout_key}
            )

        return Shown(
            Network(apply, params, condition, self.parameterization),
            schedule,
            x0,
            noise_key,
        )

    def model(self, trainable: Any, frozen: Any, settings: Any) -> Model:
        """The diffusion model with these parameters."""
        params, schedule, conditioner, codec = self._parts(trainable, frozen)
        return Model(
            network=BoundModule(self.network, params),
            schedule=schedule,
            parameterization=self.parameterization,
            codec=codec,
            conditioner=conditioner,
            settings=settings,
            shape=self.shape,
        )

    def check_sampling(self, settings: Any) -> None:
        """Refuses settings that do not fit schedule, parameterization, condition or variance."""
        settings.plan(self.schedule, self.parameterization)
        if settings.guidance not in (None, 1) and not self.condition_shapes():
            raise ValueError(
                f"sample.guidance is {settings.guidance:g}, and the network is told nothing "
                "that it could be guided by: set --sample.guidance None, or a conditioner"
            )
        asked = str(getattr(settings.solver, "variance", ""))
        learned = None if self.variance is None else self.variance.kind
        if asked in ("learned", "learned_range") and asked != learned:
            raise ValueError(
                f"sample.solver.variance is {asked}, the network learns {learned or 'none'}; set "
                "both alike: --objective.variance learned --objective.variance.kind "
                f"{asked}, or another --sample.solver.variance"
            )

    def check_network(self, spec: Spec) -> None:
        """Refuses a network that cannot answer what it will be asked, at once and in one line."""
        check_attention(self.network, self.shape)
        batch: dict[str, Any] = {
            "x": jax.ShapeDtypeStruct((1, *spec.columns["x"].shape), jnp.float32)
        }
        batch |= self.told

        def answer(key: Array) -> Array:
            reader = self.loaded.get("conditioner", None) or self.conditioner.init(key)
            x, t, condition = self._inputs(batch, reader)
            params = self.loaded.get("network")
            if params is None and hasattr(self.network, "init_with_output"):  # traced once
                return self.network.init_with_output(key, x, t, condition)[0]
            params = params or self.network.init(key, x, t, condition)
            return self.network.apply(params, x, t, condition)

        got = jax.eval_shape(answer, jax.random.key(0)).shape
        wanted = (1, *self.answer_shape())
        if self.variance is not None:
            wanted = (*wanted[:-1], 2 * wanted[-1])
        if got != wanted:
            why = "with a learned variance twice the channels" if self.variance else "the same"
            raise ValueError(
                f"the network answers data of shape {list(self.shape)} with {list(got[1:])}; "
                f"expected {list(wanted[1:])} ({why}): leave network.out_channels at None"
            )
        known = getattr(self.network, "num_steps", None)
        times = getattr(self.schedule, "num_steps", None)
        if known is not None and (times is None or times > known):
            raise ValueError(
                f"the network knows {known} times, the schedule has "
                f"{times or 'a continuum of them'}; set network.num_steps and schedule.num_steps "
                "to the same number"
            )

    def _times(self, trainable: Any, train: bool) -> Any:
        """Where to look: as was found out so far; without `train` at the same times every time."""
        if not isinstance(self.times, losses.SecondMoment):
            return self.times
        return (
            self.times.with_params(trainable[ASSIGNED]["times"]) if train else losses.Stratified()
        )

    def _log_variance(self, trainable: Any, train: bool) -> Callable[[Point], Array] | None:
        """What the loss is divided by at each level; without `train` the loss itself counts."""
        if self.uncertainty is None or not train:
            return None
        return functools.partial(self.uncertainty.log_variance, trainable[_UNCERTAINTY])

    def answer_shape(self) -> tuple[int, ...]:
        """What the network answers of one example, where its variance is not learned."""
        return self.shape

    def _clean(self, codec: Any, raw: Array, key: Array) -> Array:
        """Data in model space, where batches may be already."""
        if self.encoded and raw.shape[1:] == self.shape:
            return raw
        return codec.encode(raw, key)

    def _parts(self, trainable: Any, frozen: Any) -> tuple[Any, Any, Any, Any]:
        """The network's parameters, the schedule, the conditioner and the codec."""
        learned = self.adapter.merge(adapted(trainable), frozen.get("adapter", {}))
        reader = learned.get("conditioner", frozen.get("conditioner"))
        return (
            learned["network"],
            _holding(self.schedule, learned.get("schedule")),
            _holding(self.conditioner, reader),
            _holding(self.codec, frozen.get("codec")),
        )

    def _inputs(self, batch: Batch, reader: Any) -> tuple[Array, Array, Any]:
        """What the network is shown first: zeros, and a condition as training will give it."""
        told = {
            name: jnp.zeros((1, *batch[name].shape[1:]), batch[name].dtype) for name in self.told
        }
        condition = self.conditioner.encode(reader, told)
        return self.blank(), jnp.zeros(1), _read(self.network, condition)

    def blank(self) -> Array:
        """One example of zeros in model space."""
        return jnp.zeros((1, *self.shape))

    def condition_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape, of one example, of every entry of the condition."""

        def condition(key: Array) -> dict[str, Array]:
            reader = self.loaded.get("conditioner", None) or self.conditioner.init(key)
            told = {n: jnp.zeros(v.shape, v.dtype) for n, v in self.told.items()}
            return self.conditioner.encode(reader, told)

        shapes = jax.eval_shape(condition, jax.random.key(0))
        return {name: leaf.shape[1:] for name, leaf in shapes.items()}


def adapted(trainable: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `trainable` that the adapter made, without what the loss alone needs."""
    beside = (ASSIGNED, _UNCERTAINTY)
    return {name: part for name, part in trainable.items() if name not in beside}


def quartiles(rank: Array, error: Array) -> dict[str, Array | Mean]:
    """Metrics `loss_t1` to `loss_t4`: mean errors, `[B]`, by quarters of their ranks in 0 to 1."""
    bucket = jnp.clip(jnp.floor(rank * BUCKETS), 0, BUCKETS - 1)
    metrics: dict[str, Array | Mean] = {}
    for i in range(BUCKETS):
        inside = (bucket == i).astype(jnp.float32)
        metrics[f"loss_t{i + 1}"] = Mean(jnp.sum(inside * error), jnp.sum(inside))
    return metrics


def _read(network: Any, condition: dict[str, Array]) -> dict[str, Array]:
    """The part of a condition that the network reads."""
    reads = getattr(network, "reads", condition)
    return {name: value for name, value in condition.items() if name in reads}


def _holding(noun: Any, params: Any) -> Any:
    """A codec, conditioner or schedule with its parameters."""
    return noun if params is None else noun.with_params(params)
