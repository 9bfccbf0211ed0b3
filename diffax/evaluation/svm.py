"""An SVM that says how sure it is of each class."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np


class SVM:
    """A support vector machine with a Gaussian kernel, and the probability of every class.

    A machine for every pair of classes, its margin turned into a probability by Platt's sigmoid
    over five-fold answers (Platt 1999), and the pairs joined into one distribution (Wu, Lin & Weng
    2004, second method, eq. 21). Sure of one class means surer than every rival: calibrated one
    class against all others, a machine is sure of noise, too.

    Args:
        known: what is learnt from, `[N, D]`.
        labels: int `[N]`; the classes are 0 to K - 1, each at least five times.

    Example:
        >>> labels = np.arange(3).repeat(20)
        >>> known = np.random.default_rng(0).normal(size=(60, 2)) + 9 * labels[:, None]
        >>> SVM(known, labels)(np.array([[0.0, 0.0], [9.0, 9.0]])).argmax(axis=1).tolist()
        [0, 1]
    """

    def __init__(self, known: np.ndarray, labels: np.ndarray) -> None:
        from sklearn.calibration import CalibratedClassifierCV  # slow to import
        from sklearn.model_selection import StratifiedKFold
        from sklearn.multiclass import OneVsOneClassifier
        from sklearn.svm import SVC
        from threadpoolctl import threadpool_limits

        gamma = 1 / (known.shape[1] * known.var())  # one width for all pairs
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        one = CalibratedClassifierCV(SVC(gamma=gamma), cv=folds, ensemble=False)
        with threadpool_limits(1):  # threads that wait for each other took four times as long
            self._pairs: Any = OneVsOneClassifier(one).fit(known, labels).estimators_
        self._classes = int(labels.max()) + 1

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Probabilities `[N, K]` of data `[N, D]`."""
        beats = np.zeros((len(data), self._classes, self._classes))  # P(i | i or j)
        pairs = combinations(range(self._classes), 2)
        for (i, j), machine in zip(pairs, self._pairs, strict=True):
            beats[:, i, j], beats[:, j, i] = machine.predict_proba(data).T.clip(1e-7, 1 - 1e-7)
        return joined(beats)


def joined(beats: np.ndarray) -> np.ndarray:
    """One distribution from the comparisons of all pairs.

    Args:
        beats: `[N, K, K]`, at `[:, i, j]` the probability of class i where it is i or j; 0 on the
            diagonal.

    Returns:
        The p `[N, K]`, of sum 1, of the least sum over pairs of `(r_ji p_i - r_ij p_j)^2`.

    Example:
        >>> p = np.array([0.2, 0.3, 0.5])
        >>> beats = p[:, None] / (p[:, None] + p) * (1 - np.eye(3))
        >>> joined(beats[None]).round(6).tolist()
        [[0.2, 0.3, 0.5]]
    """
    count, classes, _ = beats.shape
    lost = beats.swapaxes(1, 2)
    system = np.ones((count, classes + 1, classes + 1))  # with the multiplier of sum p = 1
    system[:, :-1, :-1] = -lost * beats
    diagonal = np.arange(classes)
    system[:, diagonal, diagonal] = np.sum(lost**2, axis=2)
    system[:, -1, -1] = 0
    right = np.zeros((count, classes + 1, 1))
    right[:, -1] = 1
    return np.linalg.solve(system, right)[:, :-1, 0]
