"""Numbers in dataclasses, as compiled programs see them."""

import dataclasses


def whole_numbers_to_floats(node: object) -> None:
    """Make int fields of a frozen dataclass floats, static ones excepted.

    To JAX the scales 1 and 1.5 are of different types, and so would compile two programs; after
    this they are one type. For `__post_init__`.
    """
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if type(value) is int and not field.metadata.get("static"):
            object.__setattr__(node, field.name, float(value))
