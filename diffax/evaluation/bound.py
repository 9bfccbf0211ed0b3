"""The variational bound of held-out data, in bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from diffax.codecs import Pixels
from diffax.compilation import jit
from diffax.evaluation.examples import blocks, denoiser_of, interval, stretch_of
from diffax.evaluation.metric import Curve, Measured, Watched
from diffax.gaussian import REVERSE_VARIANCES
from diffax.losses import variational_bound
from diffax.schedules import Discrete

_compiled = jit(variational_bound, static_argnames=("parts", "variance", "clip_x0", "levels"))


@dataclass(frozen=True)
class BoundBits:
    """The variational bound on another split: `bound_bits`, lower is better (Ho et al. 2020).

    It bounds the bits that the ancestral sampler with all steps of the schedule's table needs for
    an entry of an example. 8-bit images are decoded into their levels; of all other data it is a
    density's, in the data's own units. `bound_bits_t1` to `_t4` are the terms of the four quartiles
    of time (clean to noisy), `bound_bits_prior` is what the noisiest step still says; together they
    are the bound.
    """

    split: str = "test"
    """Which split of the data."""
    num: int = 256
    """Examples looked at, from the split's first on; fewer where it has fewer."""
    parts: int | None = 20
    """Terms drawn for every example, one from each of so many parts of time, at least 4; None: all
    terms."""
    variance: str | None = None
    """Of the reverse step: fixed_small, fixed_large, learned_range, learned. None: the sampler's
    where it has one, else learned_range where the network answers one, else fixed_small."""
    seed: int = 0
    """Of times and noise: the same at every evaluation."""

    better: ClassVar[Mapping[str, str]] = {
        f"bound_bits{part}": "lower" for part in ("", "_t1", "_t2", "_t3", "_t4", "_prior")
    }

    def __post_init__(self) -> None:
        """Checks every value."""
        if not 1 <= self.num <= 10**9:
            raise ValueError(f"metrics num must be >= 1, got {self.num}")
        if self.parts is not None and self.parts < 4:
            raise ValueError(f"metrics parts must be >= 4, one a quartile, got {self.parts}")
        if self.variance not in (None, *REVERSE_VARIANCES):
            raise ValueError(
                f"metrics variance should be one of {', '.join(REVERSE_VARIANCES)} or None, got "
                f"{self.variance!r}"
            )

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figures, and the terms by time.

        Raises:
            ValueError: no model, a schedule that is no table, or a codec that loses something.
        """
        model = watched.model
        if model is None or not isinstance(model.schedule, Discrete):
            what = "no model" if model is None else type(model.schedule).__name__
            raise ValueError(
                f"the variational bound needs a schedule that is a table, got {what}; use flow"
            )
        dataset = watched.split(self.split)
        shape = dataset.spec.shape
        stretch, bits = stretch_of(model, shape), 1 / (math.prod(shape) * math.log(2))
        levels = 256 if isinstance(model.codec, Pixels) else None
        variance = self.variance or _variance(model, dataset.spec.blank())
        found, counts = [], []
        for start, batch, count in blocks(dataset, self.num):
            bound = _compiled(
                denoiser_of(model, batch),
                model.codec.encode(jnp.asarray(batch["x"])),
                jax.random.fold_in(jax.random.key(self.seed), start),
                model.schedule,
                parts=None if self.parts is None else min(self.parts, model.schedule.num_steps),
                variance=variance,
                clip_x0=getattr(model.settings, "clip", None) is not None,
                levels=levels,
            )
            found.append(jax.device_get(bound))
            counts.append(count)
        pairs = list(zip(found, counts, strict=True))
        by_part = bits * np.concatenate([b.terms[:, :n] for b, n in pairs], axis=1, dtype=float)
        prior = bits * np.concatenate([b.prior[:n] for b, n in pairs], dtype=float)
        edges = found[0].edges
        if levels is None:  # the decoder's density, in the data's own units
            by_part[0] -= stretch * bits
        each = by_part.sum(axis=0) + prior
        middle = (edges[:-1] + edges[1:] - 1) / 2
        quartile = np.minimum(4 * middle // model.schedule.num_steps, 3)
        figures = {"bound_bits": float(each.mean())}
        for i in range(4):
            figures[f"bound_bits_t{i + 1}"] = float(by_part[quartile == i].sum(axis=0).mean())
        figures["bound_bits_prior"] = float(prior.mean())
        return Measured(
            figures,
            intervals={"bound_bits": interval(each)},
            curves={"bound by time": Curve("t", middle, by_part.mean(axis=1) / np.diff(edges))},
            notes=(
                f"bound: {len(each):,} examples of {self.split}, {len(middle):,} terms each, "
                f"variance {variance}, " + ("density" if levels is None else "8-bit levels"),
            ),
        )


def _variance(model: Any, blank: Any) -> str:
    """The variance of the model's own reverse step."""
    named = getattr(getattr(model.settings, "solver", None), "variance", None)
    if named in REVERSE_VARIANCES:
        return named
    x = jax.ShapeDtypeStruct((1, *model.shape), jnp.float32)
    guess = jax.eval_shape(lambda x: denoiser_of(model, blank)(x, model.schedule.at(0)), x)
    return "fixed_small" if guess.log_variance is None else "learned_range"
