"""Statistics of reference data, computed once for each network and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from diffax.evaluation.features import FeatureNetwork
from diffax.evaluation.statistics import Statistics, moments_of
from diffax.evaluation.statistics_file import read_statistics, write_statistics

Blocks = Callable[[], Iterable[np.ndarray]]
"""Begins to read a set's examples anew, some at a time."""


def reference_statistics(
    network: FeatureNetwork, blocks: Blocks, folder: str | os.PathLike | None = None
) -> Statistics:
    """The statistics of a set of examples, from the folder where it has been looked at before.

    What the set holds decides, byte for byte, not what it is called: all of it is read each time,
    and only the network is spared. A file in the folder that cannot be read is made anew. Every
    process of several looks at the whole set.

    Args:
        network: what to look with.
        blocks: see `Blocks`; for a data set `lambda: (b["x"] for b in dataset.blocks())`.
        folder: where statistics are kept; None: nowhere.

    Raises:
        ValueError: fewer than two examples, or what `FeatureNetwork` refuses.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile, jax
        >>> from diffax.evaluation import feature_network
        >>> from diffax.models import SmallClassifier
        >>> module, images = SmallClassifier(classes=3), np.zeros((4, 4, 4, 1), np.uint8)
        >>> network = feature_network("tiny", module, module.init(jax.random.key(0), images))
        >>> folder = tempfile.mkdtemp()
        >>> reference_statistics(network, lambda: [images], folder).count
        4
        >>> len(os.listdir(folder))
        1
    """
    if folder is None:
        return moments_of(network, blocks()).statistics(network)
    content = f"{network.fingerprint} {data_fingerprint(blocks())}"
    path = Path(folder) / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.npz"
    if path.is_file():
        try:
            kept = read_statistics(path)
        except ValueError:
            kept = None
        if kept is not None and kept.fingerprint == network.fingerprint:
            return kept
    found = moments_of(network, blocks()).statistics(network)
    write_statistics(path, found)
    return found


def data_fingerprint(blocks: Iterable[np.ndarray]) -> str:
    """SHA-256, in hexadecimal, over shape, type and bytes of every example, in order.

    Args:
        blocks: examples, some at a time; how they are cut does not count.
    """
    digest, kind = hashlib.sha256(), None
    for block in blocks:
        if kind != (block.dtype, block.shape[1:]):
            kind = (block.dtype, block.shape[1:])
            digest.update(f"{block.dtype} {block.shape[1:]}".encode())
        digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
