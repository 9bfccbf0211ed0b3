"""Parts that a run uses and does not train: kept by where they came from and a fingerprint."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np

Reference = dict[str, str]
"""{"source": where a frozen part came from, "fingerprint": what it held}."""


def fingerprint(tree: Any) -> str:
    """SHA-256, in hexadecimal, over name, type, shape and bytes of every leaf of a tree.

    Args:
        tree: of arrays, numbers or random keys, which this process holds whole.

    Example:
        >>> fingerprint({"a": np.zeros(2, np.float32)})[:8]
        '034b5e1f'
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        head = f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode()
        # With its length in front, no head can be taken for a piece of another's bytes.
        digest.update(len(head).to_bytes(8, "little") + head)
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_frozen(saved: list[Reference], current: list[Reference]) -> None:
    """Refuses to continue a run whose frozen parts are others now.

    Args:
        saved: what the checkpoint's record says under "frozen".
        current: the same, of what was loaded now.

    Raises:
        ValueError: they differ; names the first part that does.
    """
    if len(saved) != len(current):
        raise ValueError(
            f"the run was begun with {len(saved)} frozen parts ({_sources(saved)}), there are "
            f"{len(current)} now ({_sources(current)}); continue with those it was begun with, or "
            "use another --workdir"
        )
    for before, now in zip(saved, current, strict=True):
        # The place may move, what is in it may not change.
        if before["fingerprint"] != now["fingerprint"]:
            raise ValueError(
                f"the frozen part {now['source']} (fingerprint {now['fingerprint'][:12]}) is not "
                f"the one that the run was begun with: {before['source']} "
                f"({before['fingerprint'][:12]}); give that one, or use another --workdir"
            )


def _sources(references: list[Reference]) -> str:
    return ", ".join(reference["source"] for reference in references) or "none"
