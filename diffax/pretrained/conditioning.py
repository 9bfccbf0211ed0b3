"""From what a published model is told to what its U-Net takes: prompts, or classes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.models.blocks.embeddings import guidance_embedding
from diffax.models.bound import BoundModule
from diffax.noun import noun, structure
from diffax.pretrained.prompts import tokenize
from diffax.pretrained.tokenizer import Tokenizer

Told = dict[str, Any]
_Pair = tuple[int, int]  # height and width, or top and left


@noun
class Skip:
    """How many of the text encoders' last layers are left out; static."""

    layers: int = structure(default=0)


@noun
class PublishedText:
    """The frozen text encoders of Stable Diffusion 1, 2 and XL, and of XL's refiner.

    A prompt of more than 75 tokens is encoded in several windows, whose states are joined. Weighted
    tokens' states are multiplied by their weights, then all are scaled back to the mean they had.

    The condition is `{"context": [B, 77 chunks, C]}`, and for XL also `"pooled"` `[B, P]` and
    `"size_ids"` `[B, 6]` (original size, crop, target size; for the refiner `[B, 5]` with an
    aesthetic score for the target size); float32.

    Attributes:
        encoders: the text encoders, all used.
        tokenizers: one for each.
        xl: XL's way: the last layer but one of each encoder, the pooled text, and sizes.
        zeros_for_empty: no negative prompt is zeros, not the empty text (XL base).
        aesthetics: an aesthetic score stands for the target size (XL's refiner).
        guidance_size: length of the guidance embedding of a distilled model, or None.
        dropout: probability, in [0, 1], of replacing a caption by the empty text in training.
        trained: whether the run's adapter reaches the encoders' parameters.
    """

    encoders: tuple[BoundModule, ...]
    tokenizers: tuple[Tokenizer, ...] = structure()
    xl: bool = structure(default=False)
    zeros_for_empty: bool = structure(default=False)
    aesthetics: bool = structure(default=False)
    guidance_size: int | None = structure(default=None)
    dropout: float = structure(default=0.1)
    trained: bool = structure(default=False)

    reads: ClassVar[tuple[str, ...]] = ("caption",)

    @property
    def asks(self) -> tuple[str, ...]:
        """Fields of a request that are understood."""
        sizes = ("original_size", "crop", "target_size") if self.xl else ()
        scores = ("aesthetic_score", "negative_aesthetic_score") if self.aesthetics else ()
        return ("prompt", "negative", "clip_skip", *sizes, *scores)

    @property
    def params(self) -> dict[str, Any]:
        """The encoders' parameters, `{"text_encoder": ..., "text_encoder_2": ...}`."""
        named = zip(self._named(), self.encoders, strict=True)
        return {f"text_encoder{name}": encoder.params for (name, _), encoder in named}

    def with_params(self, params: Mapping[str, Any]) -> PublishedText:
        """The conditioner with other parameters of its encoders."""
        named = zip(self._named(), self.encoders, strict=True)
        encoders = tuple(
            BoundModule(encoder.module, params[f"text_encoder{name}"])
            for (name, _), encoder in named
        )
        return dataclasses.replace(self, encoders=encoders)

    def fitted(self, spec: Any) -> PublishedText:
        """Itself.

        Raises:
            ValueError: the data have no captions.
        """
        if "caption" not in spec.columns:
            raise ValueError(
                "this model reads texts and the data have no captions; set --data.captions True"
            )
        return self

    def init(self, key: Array) -> Any:
        """The published parameters: nothing is drawn."""
        return self.params

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The captions' tokens, what is longer than one window cut off; for XL also the sizes."""
        captions = np.asarray(batch["caption"])
        texts = [str(text) for text in captions.ravel()]
        told: Told = {}
        for name, tokenizer in self._named():
            tokens = [tokenizer.ids(text) for text in texts]
            if max(map(len, tokens)) > tokenizer.length - 2:
                warnings.warn(
                    f"captions of more than {tokenizer.length - 2} tokens are cut: only what they "
                    "begin with is learned",
                    stacklevel=2,
                )
            ids = np.array([tokenizer.frame(own) for own in tokens], np.int32)[:, None]
            told[f"ids{name}"] = ids
            told[f"weights{name}"] = np.ones(ids.shape, np.float32)
        if self.xl:
            size = np.shape(batch["x"])[-3:-1]
            told["size_ids"] = self._sizes(len(texts), size, None, None, size, 6.0)
            told["nothing"] = np.zeros(len(texts), bool)
        return {k: v.reshape(*captions.shape, *v.shape[1:]) for k, v in told.items()}

    def request(self, request: Any, num: int) -> tuple[Told, Told]:
        """Prompts, `request.num` samples each, and what they are guided away from.

        `clip_skip` is for the prompts only, as in diffusers.
        """
        prompts, negatives = request.texts(num)
        tokens: Told = {}
        # Together, so that both have as many chunks as the longest text.
        texts = [*prompts, *negatives]
        chunks = max(tokenize(t, texts).ids.shape[1] for t in self.tokenizers)
        for name, tokenizer in self._named():
            own = tokenize(tokenizer, texts, min_chunks=chunks)
            tokens |= {f"ids{name}": own.ids, f"weights{name}": own.weights}
        asked, avoided = ({k: v[part] for k, v in tokens.items()} for part in _halves(num))
        if self.xl:
            empty = request.negative is None and self.zeros_for_empty
            own_size = (request.height, request.width)
            for told, nothing, score in (
                (asked, False, _given(request.aesthetic_score, 6.0)),
                (avoided, empty, _given(request.negative_aesthetic_score, 2.5)),
            ):
                told["nothing"] = np.full(num, nothing)
                told["size_ids"] = self._sizes(
                    num, own_size, request.original_size, request.crop, request.target_size, score
                )
        if request.clip_skip:
            self._check_skip(request.clip_skip)
            asked["skip"] = Skip(request.clip_skip)
        return asked, avoided

    def drop(self, key: Array, told: Told) -> Told:
        """Each caption replaced by "nothing said" with probability `dropout`."""
        if self.dropout == 0:
            return told
        rows = told["ids"].shape[0]
        dropped = jax.random.bernoulli(key, self.dropout, (rows,))
        if self.xl and self.zeros_for_empty:
            return told | {"nothing": told["nothing"] | dropped}
        kept = dict(told)
        for name, tokenizer in self._named():
            empty = jnp.asarray(tokenizer.frame([]), jnp.int32)[None, None]
            for field, value in ((f"ids{name}", empty), (f"weights{name}", jnp.ones_like(empty))):
                given = told[field]
                kept[field] = jnp.where(dropped[:, None, None], value.astype(given.dtype), given)
        return kept

    def encode(self, params: Mapping[str, Any], told: Told) -> dict[str, Array]:
        """The encoders' states, one after the other along the channels."""
        skip = told["skip"].layers if "skip" in told else 0
        contexts, pooled = [], None
        for (name, _), encoder in zip(self._named(), self.encoders, strict=True):
            own = params[f"text_encoder{name}"]
            context, projected = _encoded(
                encoder.module, own, told[f"ids{name}"], told[f"weights{name}"], self.xl, skip
            )
            contexts.append(context)
            pooled = projected if projected is not None else pooled
        condition = {"context": jnp.concatenate(contexts, axis=-1)}
        if not self.xl:
            return condition
        if pooled is None:
            raise ValueError("an XL model needs a text encoder with a projection; it has none")
        nothing = told["nothing"]
        condition["context"] = jnp.where(nothing[:, None, None], 0.0, condition["context"])
        condition["pooled"] = jnp.where(nothing[:, None], 0.0, pooled)
        return condition | {"size_ids": jnp.asarray(told["size_ids"], jnp.float32)}

    @property
    def guidance_condition(self) -> Callable[[float | None, int], dict[str, np.ndarray]] | None:
        """What a distilled model is told of the scale, `(scale, B) -> {"guidance": [B, K]}`.

        None for all other models, which are called twice for guidance.
        """
        if self.guidance_size is None:
            return None

        def embedded(scale: float | None, num: int) -> dict[str, np.ndarray]:
            w = np.full(num, 0.0 if scale is None else scale - 1.0, np.float32)
            return {"guidance": np.asarray(guidance_embedding(jnp.asarray(w), self.guidance_size))}

        return embedded

    def _named(self) -> list[tuple[str, Tokenizer]]:
        """The tokenizers with the endings of their columns' names: "", "_2"."""
        names = [f"_{i + 1}" if i else "" for i in range(len(self.tokenizers))]
        return list(zip(names, self.tokenizers, strict=True))

    def _check_skip(self, skip: int) -> None:
        depth = min(encoder.module.num_hidden_layers for encoder in self.encoders)
        most = depth - 1 if self.xl else depth
        if skip > most:
            raise ValueError(
                f"clip_skip must be at most {most}, the text encoder's layers, got {skip}"
            )

    def _sizes(
        self,
        num: int,
        size: tuple[int | None, int | None],
        original: _Pair | None,
        crop: _Pair | None,
        target: _Pair | None,
        score: float,
    ) -> np.ndarray:
        """XL's numbers beside the text, `[num, 6]`, or `[num, 5]` with a score."""
        if None in size:
            raise ValueError("XL is told the images' size: give height and width")
        numbers = [*_given(original, size), *_given(crop, (0, 0))]
        numbers += [score] if self.aesthetics else [*_given(target, size)]
        expected = 5 if self.aesthetics else 6
        if len(numbers) != expected:
            raise ValueError(
                "original_size, crop and target_size are pairs (height, width or top, left), got "
                f"{original}, {crop}, {target}"
            )
        return np.tile(np.asarray(numbers, np.float32), (num, 1))


def _encoded(
    module: nn.Module, params: Any, ids: Array, weights: Array, xl: bool, skip: int
) -> tuple[Array, Array | None]:
    """States `[B, chunks L, C]` of tokens `[B, chunks, L]`, and the first window's projection."""
    batch, chunks, length = ids.shape
    # Flax says "or a pair", which only `mutable` gives.
    out = cast(Any, module.apply(params, ids.reshape(batch * chunks, length), 0 if xl else skip))
    states = out.hidden[-2 - skip] if xl else out.last
    states = states.astype(jnp.float32).reshape(batch, chunks * length, -1)
    weighted = states * weights.reshape(batch, -1, 1)
    before, after = (jnp.mean(s, axis=(1, 2), keepdims=True) for s in (states, weighted))
    asked = jnp.any(weights != 1, axis=(1, 2)).reshape(batch, 1, 1)
    context = jnp.where(asked, weighted * (before / after), states)
    if out.projected is None:
        return context, None
    # The text as a whole is what its first window says.
    return context, out.projected.astype(jnp.float32).reshape(batch, chunks, -1)[:, 0]


@noun
class PublishedClasses:
    """The table of classes that a U-Net attends to instead of a text (CompVis' cin256-v2).

    The condition is `{"context": [B, 1, C]}`. The table's last row is "no class", which guidance
    steers away from (Rombach et al. 2022, section 4.3.1).

    Attributes:
        embedder: a `ClassEmbedder` with its parameters.
        dropout: probability, in [0, 1], of replacing a label by "no class" in training.
    """

    embedder: BoundModule
    dropout: float = structure(default=0.1)

    reads: ClassVar[tuple[str, ...]] = ("label",)
    asks: ClassVar[tuple[str, ...]] = ("labels",)
    trained: ClassVar[bool] = False

    @property
    def params(self) -> Any:
        """The table."""
        return self.embedder.params

    @property
    def null(self) -> int:
        """The label that means "no class"."""
        return self.embedder.module.null

    def with_params(self, params: Any) -> PublishedClasses:
        """The conditioner with another table."""
        return dataclasses.replace(self, embedder=BoundModule(self.embedder.module, params))

    def fitted(self, spec: Any) -> PublishedClasses:
        """Itself; the data must have labels, and no more classes than the table."""
        _check_labels(spec, self.null)
        return self

    def init(self, key: Array) -> Any:
        """The published table: nothing is drawn."""
        return self.params

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The labels."""
        return {"label": batch["label"]}

    def request(self, request: Any, num: int) -> tuple[Told, Told]:
        """Labels, `request.num` samples each; None: no class."""
        nothing = {"label": np.full(num, self.null, np.int32)}
        if request.labels is None:
            return dict(nothing), nothing
        numbers = class_numbers(request.listed_labels(), self.null)
        return {"label": np.repeat(numbers, num // request.count)}, nothing

    def drop(self, key: Array, told: Told) -> Told:
        """Each label replaced by "no class" with probability `dropout`."""
        if self.dropout == 0:
            return told
        dropped = jax.random.bernoulli(key, self.dropout, told["label"].shape)
        return {"label": jnp.where(dropped, self.null, told["label"])}

    def encode(self, params: Any, told: Told) -> dict[str, Array]:
        """Rows of the table."""
        # Flax says "or a pair", which only `mutable` gives.
        context = cast(Array, self.embedder.module.apply(params, jnp.asarray(told["label"])))
        return {"context": context.astype(jnp.float32)}


@noun
class PublishedLabels:
    """Classes of a network that was never trained without one: there is no guidance.

    The condition is `{"label": int32 [B]}`.

    Attributes:
        num_classes: the labels are 0 .. num_classes - 1.
    """

    num_classes: int = structure()

    reads: ClassVar[tuple[str, ...]] = ("label",)
    asks: ClassVar[tuple[str, ...]] = ("labels",)
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def fitted(self, spec: Any) -> PublishedLabels:
        """Itself; the data must have labels, and no more classes than the network."""
        _check_labels(spec, self.num_classes)
        return self

    def init(self, key: Array) -> dict:
        """Nothing: the table of classes is part of the network."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The labels."""
        return {"label": batch["label"]}

    def request(self, request: Any, num: int) -> tuple[Told, Told]:
        """Labels, `request.num` samples each.

        Raises:
            ValueError: no labels, unknown ones, or guidance.
        """
        if request.labels is None:
            raise ValueError(
                f"this model always shows a class: give labels, from 0 to {self.num_classes - 1}"
            )
        if request.guidance not in (None, 1):
            raise ValueError(
                'this model knows no "no class" to be guided away from; leave guidance out'
            )
        numbers = class_numbers(request.listed_labels(), self.num_classes)
        told = {"label": np.repeat(numbers, num // request.count)}
        return told, dict(told)

    def drop(self, key: Array, told: Told) -> Told:
        """Nothing is dropped: there is no label for it."""
        return told

    def encode(self, params: Any, told: Told) -> dict[str, Array]:
        """The labels themselves."""
        return {"label": told["label"]}


def class_numbers(labels: Sequence[Any], count: int) -> np.ndarray:
    """Labels as int32.

    Raises:
        ValueError: no whole numbers, or classes the model does not have.
    """
    numbers = []
    for label in labels:
        whole = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if not (whole or (isinstance(label, str) and label.isdigit())):
            raise ValueError(f"labels must be whole numbers from 0 to {count - 1}, got {label!r}")
        if not 0 <= int(label) < count:
            raise ValueError(f"labels must lie in 0 to {count - 1}, got {label}")
        numbers.append(int(label))
    return np.array(numbers, np.int32)


def _check_labels(spec: Any, count: int) -> None:
    if "label" not in spec.columns:
        raise ValueError("this model reads classes and the data have none")
    if len(spec.class_names) > count:
        raise ValueError(
            f"the data have {len(spec.class_names)} classes, this model {count}: leave some out"
        )


def _halves(num: int) -> tuple[slice, slice]:
    return slice(None, num), slice(num, None)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
