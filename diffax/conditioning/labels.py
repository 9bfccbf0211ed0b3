"""Class labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax.nearest import nearest
from diffax.noun import noun, structure


@noun
class Labels:
    """A class for each sample: the condition is `{"label": int32 [B]}`.

    Classes are `0 .. num_classes - 1`; `num_classes` itself is the null label, "no class".

    Attributes:
        dropout: probability, in [0, 1], of replacing a label by the null label while training,
            which classifier-free guidance needs.
        num_classes: how many; None: as many as the data have.
        names: of the classes, in the labels' order; empty: the data's.

    Example:
        >>> Labels(num_classes=3).encode({}, {"label": jnp.array([0, 3])})["label"].tolist()
        [0, 3]
    """

    dropout: float = structure(default=0.1)
    num_classes: int | None = structure(default=None)
    names: tuple[str, ...] = structure(default=())

    reads: ClassVar[tuple[str, ...]] = ("label",)
    asks: ClassVar[tuple[str, ...]] = ("labels",)
    params: ClassVar[dict] = {}
    trained: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks every number."""
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"conditioner.dropout must lie in 0 to 1, got {self.dropout}")
        if self.num_classes is not None and not 1 <= self.num_classes <= 10**6:
            raise ValueError(
                f"conditioner.num_classes must lie in 1 to 1,000,000, got {self.num_classes}"
            )

    def fitted(self, spec: Any) -> "Labels":
        """With the data's number and names of classes.

        Raises:
            ValueError: the data have no labels, or more classes than were asked for.
        """
        if "label" not in spec.columns:
            raise ValueError(
                "conditioner labels needs data with classes, these have none (or data.labels is "
                "off); use --conditioner nothing"
            )
        count = len(spec.class_names)
        if self.num_classes is not None and self.num_classes < count:
            raise ValueError(
                f"conditioner.num_classes is {self.num_classes}, the data have {count} classes; "
                "leave it at None to take the data's"
            )
        return dataclasses.replace(
            self,
            num_classes=self.num_classes or count,
            names=self.names or tuple(spec.class_names),
        )

    @property
    def _null(self) -> int:
        """The null label, which is the number of classes."""
        if self.num_classes is None:
            raise ValueError(
                "conditioner labels does not know the number of classes yet: give num_classes, or "
                "use fitted"
            )
        return self.num_classes

    def init(self, key: Array) -> dict:
        """Nothing: the table of classes is part of the network."""
        return {}

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The labels."""
        return {"label": batch["label"]}

    def request(self, request: Any, num: int) -> tuple[dict, dict]:
        """Labels by number or name, `request.num` samples each; None: all classes in turn."""
        null = np.full(num, self._null, np.int32)
        if request.labels is None:
            numbers = np.arange(num) % self._null
        else:
            numbers = np.repeat(self.numbers(request.listed_labels()), num // request.count)
        return {"label": numbers.astype(np.int32)}, {"label": null}

    def numbers(self, labels: Sequence[int | str]) -> np.ndarray:
        """Labels given as numbers or names, as numbers.

        Raises:
            ValueError: a class that there is not.
        """
        return np.array([self._number(label) for label in labels], np.int64)

    def _number(self, label: int | str) -> int:
        if isinstance(label, str) and label in self.names:
            return self.names.index(label)
        try:
            number = int(label)
        except (TypeError, ValueError):
            raise ValueError(
                f"no class is called {label!r}; {nearest(str(label), self.names)}"
            ) from None
        if not 0 <= number <= self._null or number != float(label):
            raise ValueError(
                f"labels must lie in 0 to {self._null - 1} ({self._null}: no class), got {label}"
            )
        return number

    def drop(self, key: Array, told: dict[str, Array]) -> dict[str, Array]:
        """Each label replaced by the null label with probability `dropout`."""
        if self.dropout == 0:
            return told
        label = told["label"]
        dropped = jax.random.bernoulli(key, self.dropout, label.shape)
        return {"label": jnp.where(dropped, self._null, label)}

    def encode(self, params: Any, told: dict[str, Array]) -> dict[str, Array]:
        """The labels themselves: the network has the table."""
        return {"label": told["label"]}
