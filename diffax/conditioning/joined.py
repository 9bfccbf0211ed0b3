"""Several conditioners as one: a text and an image to follow."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array

from diffax.conditioning.conditioner import Condition, Told
from diffax.noun import noun


@noun
class Joined:
    """Every part reads its own columns and fields of a request; their conditions are joined.

    Attributes:
        parts: conditioners of which no two tell the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffax.conditioning import Control, Labels
        >>> both = Joined((Labels(num_classes=3), Control()))
        >>> told = {"label": jnp.array([2]), "control": jnp.zeros((1, 8, 8, 3))}
        >>> sorted(both.encode(both.params, told))
        ['control', 'label']
    """

    parts: tuple[Any, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of a data set that the parts need."""
        return _union(part.reads for part in self.parts)

    @property
    def asks(self) -> tuple[str, ...]:
        """Fields of a request that the parts understand."""
        return _union(part.asks for part in self.parts)

    @property
    def params(self) -> dict[str, Any]:
        """The parts' parameters, `{"part_0": ..., ...}`, of those that have some."""
        return self._held(part.params for part in self.parts)

    @property
    def trained(self) -> bool:
        """Whether training learns the parameters of any part; then it learns those of all."""
        return any(part.trained for part in self.parts)

    @property
    def guidance_condition(self) -> Callable[..., dict[str, np.ndarray]] | None:
        """What a distilled model is told of the guidance scale, if a part says so."""
        return self._first("guidance_condition")

    @property
    def factor(self) -> int | None:
        """How many times larger than a small image the samples are, if a part says so."""
        return self._first("factor")

    @property
    def num_classes(self) -> int | None:
        """How many classes the labels among the parts have."""
        return self._first("num_classes")

    @property
    def numbers(self) -> Callable[..., Any] | None:
        """The labels' own map from names to numbers."""
        return self._first("numbers")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, where a part has any."""
        return self._first("names") or ()

    def with_params(self, params: Mapping[str, Any]) -> "Joined":
        """The parts with other parameters."""
        held = (
            part.with_params(params[f"part_{i}"]) if f"part_{i}" in params else part
            for i, part in enumerate(self.parts)
        )
        return dataclasses.replace(self, parts=tuple(held))

    def fitted(self, spec: Any) -> "Joined":
        """Every part fitted to the data."""
        return dataclasses.replace(self, parts=tuple(part.fitted(spec) for part in self.parts))

    def init(self, key: Array) -> dict[str, Any]:
        """Fresh parameters of every part."""
        keys = jax.random.split(key, len(self.parts))
        return self._held(part.init(own) for part, own in zip(self.parts, keys, strict=True))

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What every part reads of a batch."""
        return _merged(part.columns(batch) for part in self.parts)

    def request(self, request: Any, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What every part is asked, and guided away from."""
        pairs = [part.request(request, num) for part in self.parts]
        return _merged(asked for asked, _ in pairs), _merged(avoided for _, avoided in pairs)

    def drop(self, key: Array, told: Told) -> Told:
        """Each part drops with its own probability, independently of the others."""
        for part, own in zip(self.parts, jax.random.split(key, len(self.parts)), strict=True):
            told = told | part.drop(own, told)
        return told

    def encode(self, params: Mapping[str, Any], told: Told) -> Condition:
        """All entries of the parts' conditions."""
        own = (params.get(f"part_{i}", {}) for i in range(len(self.parts)))
        return _merged(part.encode(p, told) for part, p in zip(self.parts, own, strict=True))

    @staticmethod
    def _held(params: Iterable[Any]) -> dict[str, Any]:
        return {f"part_{i}": own for i, own in enumerate(params) if jax.tree.leaves(own)}

    def _first(self, name: str) -> Any:
        found = (getattr(part, name, None) for part in self.parts)
        return next((value for value in found if value is not None), None)


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _merged(tables: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for table in tables:
        twice = sorted(merged.keys() & table.keys())
        if twice:
            raise ValueError(f"two conditioners tell {', '.join(twice)}; leave one of them out")
        merged |= table
    return merged
