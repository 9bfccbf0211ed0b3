"""Prompts: parts weighted as `(word:1.3)`, texts longer than one encoder window in chunks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffax.pretrained.tokenizer import Tokenizer

MAX_CHUNKS = 8

# `:1.3)` closes a weighted part; a backslash takes a bracket's meaning away.
_MARKS = re.compile(r"\\[()\\]|\(|:\s*(\d*\.?\d+)\s*\)|\)")


@dataclass(frozen=True)
class Tokens:
    """Framed tokens of a batch of prompts, all in the same number of chunks.

    Attributes:
        ids: `[B, chunks, 77]` int32.
        weights: `[B, chunks, 77]` float32, 1 where nothing was asked for.
    """

    ids: np.ndarray
    weights: np.ndarray


def parse_weights(prompt: str) -> list[tuple[str, float]]:
    r"""Splits a prompt into parts with weights.

    Only `(text:number)` is a weight; other brackets are text. Weights of nested parts multiply.
    `\(` and `\)` are plain brackets.

    Args:
        prompt: such as "a (red:1.3) house".

    Returns:
        Parts in order, neighbours of equal weight joined; a prompt without weights comes back
        as it is, as one part.

    Example:
        >>> parse_weights("a (red:1.3) house")
        [('a ', 1.0), ('red', 1.3), (' house', 1.0)]
    """
    opened: dict[int, float] = {}  # where a weighted bracket opens -> its weight
    closed: dict[int, int] = {}  # where it closes -> end of the mark
    stack: list[int] = []
    for mark in _MARKS.finditer(prompt):
        if mark[0] == "(":
            stack.append(mark.start())
        elif mark[0].endswith(")") and not mark[0].startswith("\\") and stack:
            start = stack.pop()
            if mark[1] is not None:
                opened[start] = float(mark[1])
                closed[mark.start()] = mark.end()
    parts: list[tuple[str, float]] = []
    weights = [1.0]
    position = 0
    while position < len(prompt):
        if position in opened:
            weights.append(weights[-1] * opened[position])
            position += 1
            continue
        if position in closed:
            weights.pop()
            position = closed[position]
            continue
        # A backslash before a bracket is not part of the text.
        if prompt[position] == "\\" and prompt[position + 1 : position + 2] in ("(", ")", "\\"):
            position += 1
        letter = prompt[position]
        if parts and parts[-1][1] == weights[-1]:
            parts[-1] = (parts[-1][0] + letter, weights[-1])
        else:
            parts.append((letter, weights[-1]))
        position += 1
    return parts or [("", 1.0)]


def tokenize(
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    min_chunks: int = 1,
    max_chunks: int = MAX_CHUNKS,
) -> Tokens:
    """Tokens and weights of prompts, in as many chunks as the longest of them needs.

    Args:
        tokenizer: of the text encoder.
        prompts: texts, with `(word:1.3)` weights.
        min_chunks: windows to fill at least, with padding.
        max_chunks: how many windows of 75 tokens a prompt may fill.

    Raises:
        ValueError: a prompt is longer than that.
    """
    window = tokenizer.length - 2
    rows = []
    for prompt in prompts:
        parts = [(tokenizer.ids(text), weight) for text, weight in parse_weights(prompt)]
        ids = [i for part, _ in parts for i in part]
        weights = [weight for part, weight in parts for _ in part]
        if len(ids) > max_chunks * window:
            raise ValueError(
                f"the prompt {prompt[:40]!r}... has {len(ids)} tokens; expected at most "
                f"{max_chunks * window} ({max_chunks} chunks of {window}): shorten it"
            )
        rows.append((ids, weights))
    chunks = max(min_chunks, *(-(-len(ids) // window) for ids, _ in rows))
    shape = (len(rows), chunks, tokenizer.length)
    tokens = Tokens(np.empty(shape, np.int32), np.ones(shape, np.float32))
    for row, (ids, weights) in enumerate(rows):
        for chunk in range(chunks):
            inside = slice(chunk * window, (chunk + 1) * window)
            tokens.ids[row, chunk] = tokenizer.frame(ids[inside])
            part = weights[inside]
            tokens.weights[row, chunk, 1 : 1 + len(part)] = part
    return tokens
