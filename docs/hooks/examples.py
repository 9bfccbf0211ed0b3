"""Docstrings say "Example:", of which there is mostly one; the parser knows "Examples:"."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Shows doctests as code."""

    def on_instance(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Changes the heading of every docstring's section."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            plural = ["Examples:" if line.strip() == "Example:" else line for line in lines]
            obj.docstring.value = "\n".join(plural)
