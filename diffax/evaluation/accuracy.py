"""Whether conditional samples show what they were asked to show."""

from __future__ import annotations

import numpy as np


def label_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples in which a classifier sees the class that was asked for (top 1).

    Read it beside the classifier's own accuracy on real data, which bounds what can be expected.

    Args:
        logits: `[N, K]`, finite.
        labels: int `[N]`, 0 to K - 1.

    Raises:
        ValueError: other shapes, classes that the classifier does not know, or not finite.

    Example:
        >>> label_accuracy(np.eye(3), np.array([0, 1, 1]))
        0.6666666666666666
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"expected logits [N, K] and labels [N], got {list(logits.shape)} and "
            f"{list(labels.shape)}"
        )
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits, got NaN or infinity among them")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"expected whole numbers >= 0 as labels, got {labels.dtype}")
    if labels.max() >= logits.shape[1]:
        raise ValueError(
            f"the classifier knows {logits.shape[1]} classes, got label {labels.max()}; use one "
            "that was trained on these data"
        )
    return float(np.mean(logits.argmax(axis=1) == labels))
