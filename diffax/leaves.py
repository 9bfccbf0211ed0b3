"""Numbers in dataclasses, as compiled programs see them."""

import dataclasses
from typing import Any


def whole_numbers_to_floats(node: object) -> None:
    """Make int fields of a frozen dataclass floats, static ones and those of type Any excepted.

    To JAX the scales 1 and 1.5 are of different types, and so would compile two programs; after
    this they are one type. Any is what labels and parameters are declared as: they stay what they
    are. For `__post_init__`.
    """
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        is_number = not field.metadata.get("static") and field.type is not Any
        if type(value) is int and is_number:
            object.__setattr__(node, field.name, float(value))
