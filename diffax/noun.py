"""`noun`: a frozen record of numbers and structure, as `jax.jit`, `vmap` and `grad` see one.

    @noun
    class DDIM:
        params: Any                          # any tree of arrays
        eta: ArrayLike = number(default=0.0) # traced: another value runs the same compiled program
        order: int = structure(default=2)    # static: another value compiles another program

A number may be given as a Python int or float, a NumPy scalar or an array: compiled programs see
one kind of array for all of them.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, cast, dataclass_transform

import jax
import numpy as np

_T = TypeVar("_T")
_KIND = "diffax"


def number(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a traced number (or an array of them, or None).

    The default is given by name: that is how type checkers see that a field has one.
    """
    return dataclasses.field(default=default, metadata={_KIND: "number"})


def structure(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds structure: hashable, and part of the compiled program."""
    return dataclasses.field(default=default, metadata={_KIND: "structure"})


def is_number(field: dataclasses.Field) -> bool:
    """Whether a field was declared by `number`."""
    return field.metadata.get(_KIND) == "number"


def is_structure(field: dataclasses.Field) -> bool:
    """Whether a field was declared by `structure`."""
    return field.metadata.get(_KIND) == "structure"


@dataclass_transform(frozen_default=True, field_specifiers=(number, structure, dataclasses.field))
def noun(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass and a pytree.

    Fields declared by `structure` are static; all others are subtrees, of which those declared by
    `number` are brought to one kind of array.

    Example:
        >>> @noun
        ... class Step:
        ...     size: float = number(default=1)
        ...     order: int = structure(default=2)
        >>> jax.jit(lambda step: step.size * step.order)(Step(0.5)).item()
        1.0
    """
    given = getattr(cls, "__post_init__", None)
    named: frozenset[str] = frozenset()

    def __post_init__(self: Any) -> None:
        for name in named:
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if given is not None:
            given(self)

    setattr(cls, "__post_init__", __post_init__)  # noqa: B010  # no class has it declared
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr
    cls = dataclasses.dataclass(frozen=True, repr=False)(cls)
    fields = dataclasses.fields(cast(Any, cls))
    named = frozenset(f.name for f in fields if is_number(f))
    children = tuple(f.name for f in fields if not is_structure(f))
    static = tuple(f.name for f in fields if is_structure(f))
    numbers = tuple(name in named for name in children)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in children)

    def flatten(self: _T) -> tuple[tuple, tuple]:
        values = tuple(
            _array(getattr(self, name)) if is_num else getattr(self, name)
            for name, is_num in zip(children, numbers, strict=True)
        )
        return values, tuple(getattr(self, name) for name in static)

    def flatten_with_keys(self: _T) -> tuple[tuple, tuple]:
        values, structures = flatten(self)
        return tuple(zip(keys, values, strict=True)), structures

    def unflatten(structures: tuple, values: Iterable[Any]) -> _T:
        self = object.__new__(cls)  # leaves may be anything: nothing is checked here
        for name, value in zip(children, values, strict=True):
            object.__setattr__(self, name, value)
        for name, value in zip(static, structures, strict=True):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def check_range(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Refuses a plain number that is not finite or out of range; arrays pass, they may be traced.

    Args:
        name: how the number is called in the message.
        value: a number, or an array that is not looked at.
        above, least: the lower end of the range, without and with the end itself.
        below, most: the upper end, likewise.

    Raises:
        ValueError: a plain number out of range, or something that is no number.

    Example:
        >>> check_range("std", -1.0, above=0)
        Traceback (most recent call last):
        ValueError: std should be a finite number > 0, got -1.0
    """
    if isinstance(value, jax.Array | np.ndarray):
        return
    is_real = isinstance(value, int | float | np.integer | np.floating)
    if (
        is_real
        and not isinstance(value, bool)
        and np.isfinite(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    ):
        return
    ends = ((">", above), (">=", least), ("<", below), ("<=", most))
    wanted = " and ".join(f"{sign} {end:g}" for sign, end in ends if end is not None)
    raise ValueError(f"{name} should be a finite number {wanted}".rstrip() + f", got {value!r}")


def _plain(value: Any) -> Any:
    """A number as a Python float; arrays as they are."""
    if isinstance(value, bool | np.bool_):
        return value
    if isinstance(value, int | np.integer | np.floating):
        return float(value)
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value


def _array(value: Any) -> Any:
    """A number as compiled programs see it: strongly typed, of the precision tables have."""
    if isinstance(value, tuple):
        return tuple(map(_array, value))
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    if isinstance(value, float):
        return np.asarray(value, dtype)
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer):
        return value.astype(dtype)
    if isinstance(value, jax.Array) and (
        value.weak_type or jax.numpy.issubdtype(value.dtype, jax.numpy.integer)
    ):
        return jax.lax.convert_element_type(value, dtype)
    return value


def _repr(self: Any) -> str:
    shown = (f"{f.name}={_shown(getattr(self, f.name))}" for f in dataclasses.fields(self))
    return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    """Arrays by type and shape, large trees by how much is in them, what takes lines by name."""
    if isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct) and value.ndim:
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict | list) and len(leaves := jax.tree.leaves(value)) > 4:
        count = sum(int(np.size(leaf)) for leaf in leaves)
        return f"<{len(leaves):,} arrays, {count:,} numbers>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_shown(v)}" for key, v in value.items()) + "}"
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    text = repr(value)
    return text if "\n" not in text else f"{type(value).__name__}(...)"
