"""Writes metrics.npz: torch-fidelity's figures of two small sets of features, and the sets.

Needs torch and torch-fidelity (the `parity` extra). Run from anywhere:
`python tests/golden/evaluation/make_metrics.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

HERE = Path(__file__).parent


def features(seed: int, count: int) -> np.ndarray:
    """Correlated, skewed and not centred, as a network's are: float32 `[count, 16]`."""
    rng = np.random.RandomState(seed)
    mix = np.random.RandomState(9).standard_normal((16, 16)) / 4
    return np.maximum(rng.standard_normal((count, 16)) @ mix + 0.3 + 0.2 * seed, 0).astype("f4")


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    one, other = (fid_features_to_statistics(torch.from_numpy(v)) for v in (x, y))
    return fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"]


def figures(x: np.ndarray, y: np.ndarray) -> dict[str, object]:
    """Of generated features x and real ones y."""
    x_in, y_in = torch.from_numpy(x), torch.from_numpy(y)
    kernel = kid_features_to_metric(x_in, y_in, kid_subsets=10, kid_subset_size=50, verbose=False)
    score = isc_features_to_metric(4 * x_in, splits=5, rng_seed=2020)
    # In torch-fidelity 0.4 generated features come first.
    ratio = prc_features_to_metric(x_in, y_in, prc_neighborhood=3, verbose=False)
    wide_x, wide_y = x.astype("f8"), y.astype("f8")
    mix = np.random.RandomState(0).standard_normal((16, 32))
    return {
        "kernel": list(kernel.values()),
        "score": list(score.values()),
        "precision_recall": [ratio["precision"], ratio["recall"]],
        "frechet_full": frechet(wide_x, wide_y),
        "frechet_rank": frechet(wide_x @ mix, wide_y @ mix),
        "frechet_few": frechet(wide_x[:12], wide_y[:9]),
    }


def main() -> None:
    x, y = features(0, 150), features(1, 120)
    np.savez_compressed(HERE / "metrics.npz", generated=x, real=y, **figures(x, y))


if __name__ == "__main__":
    main()
