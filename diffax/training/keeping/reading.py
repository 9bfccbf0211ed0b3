"""JSON files of unknown origin: everything that can be wrong with one is one line."""

from __future__ import annotations

import json
import stat
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 64

_WORDS = {
    int: "a whole number of at most 64 bits",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def read_object(
    path: Path,
    required: Mapping[str, Any] = types.MappingProxyType({}),
    optional: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """The object in a JSON file, the named fields of the right types.

    Args:
        path: of a regular file.
        required: field -> type. Types are int, float (whole numbers too), str, bool, None, Any,
            list, list[T], dict, dict[str, T], and unions of them.
        optional: the same, for fields that may be missing.
        max_bytes: refuse a larger file before reading it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, too large, no JSON, no object, nested more than
            `MAX_DEPTH` deep, or a field is missing or has another type.

    Example:
        >>> read_object(path, {"step": int}, {"metrics": dict[str, float]})  # doctest: +SKIP
    """
    return check_object(parse(read_bytes(path, max_bytes), path), required, optional, path)


def check_object(
    value: Any,
    required: Mapping[str, Any] = types.MappingProxyType({}),
    optional: Mapping[str, Any] = types.MappingProxyType({}),
    where: object = "JSON",
) -> dict[str, Any]:
    """The same for JSON that is read already; `where` begins the message."""
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object {{...}}, got {_shown(value)}")
    for name, kind in {**optional, **required}.items():
        if name not in value:
            if name in required:
                raise ValueError(f"{where}: {name!r} is missing")
        elif not matches(value[name], kind):
            raise ValueError(
                f"{where}: {name!r} should be {type_words(kind)}, got {_shown(value[name])}"
            )
    return value


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """A regular file's content; ValueError for anything else and for what is too large."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a regular file")
    if status.st_size > max_bytes:
        raise ValueError(f"{path}: {status.st_size:,} bytes are too many, at most {max_bytes:,}")
    return path.read_bytes()


def parse(data: bytes, where: object) -> Any:
    """JSON out of UTF-8; a one-line ValueError begins with `where`."""
    try:
        value = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError(f"{where}: nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    _check_depth(value, where)
    return value


def matches(value: Any, kind: Any) -> bool:
    """Whether a value out of JSON is of a type as in `read_object`."""
    if kind is Any:
        return True
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, choice) for choice in arguments)
    if origin is list:
        return isinstance(value, list) and all(matches(v, arguments[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(matches(v, arguments[1]) for v in value.values())
    if kind is None:
        return value is None
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**63
    if kind is float:  # a whole number of 400 digits is no float
        return type(value) is float or (type(value) is int and abs(value) < 2**1023)
    return type(value) is kind


def type_words(kind: Any) -> str:
    """A type in words: `list[int]` -> "a list, each a whole number of at most 64 bits"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(type_words, arguments))
    if origin in (list, dict):
        return f"{_WORDS[origin]}, each {type_words(arguments[-1])}"
    return "anything" if kind is Any else _WORDS[type(None) if kind is None else kind]


def _check_depth(value: Any, where: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = inner
        if not level:
            return
    raise ValueError(f"{where}: nested more than {MAX_DEPTH} deep")


def _shown(value: Any) -> str:
    text = "an object" if isinstance(value, dict) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
