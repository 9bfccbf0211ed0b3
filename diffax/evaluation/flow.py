"""The likelihood of held-out data under the probability flow, in bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from diffax.codecs import Pixels
from diffax.evaluation.examples import blocks, denoiser_of, interval, stretch_of
from diffax.evaluation.metric import Measured, Watched
from diffax.sampling import dequantized, flow_log_likelihood
from diffax.sampling.likelihood import METHODS

_compiled = jax.jit(flow_log_likelihood, static_argnames=("probes", "method", "steps", "max_steps"))


@dataclass(frozen=True)
class FlowBits:
    """`-log2 p` an entry of another split under the probability flow, as `flow_bits`.

    Of 8-bit images it is a bound: they are spread evenly over their levels' bins (Theis et al.
    2016). Of all other data it is a density's, in the data's own units (Song et al. 2021).
    """

    split: str = "test"
    """Which split of the data."""
    num: int = 64
    """Examples looked at, from the split's first on; fewer where it has fewer."""
    method: str = "rk4"
    """heun or rk4, with even steps in log(sigma / alpha); adaptive (diffrax)."""
    steps: int = 20
    """Of the fixed-step methods."""
    probes: int = 2
    """Random probes for the divergence; as many as an example has entries: it is exact."""
    seed: int = 0
    """Of probes and spread: the same at every evaluation."""

    better: ClassVar[Mapping[str, str]] = {"flow_bits": "lower"}

    def __post_init__(self) -> None:
        """Checks every value."""
        for name in ("num", "steps", "probes"):
            if not 1 <= getattr(self, name) <= 10**9:
                raise ValueError(f"metrics {name} must be >= 1, got {getattr(self, name)}")
        if self.method not in METHODS:
            raise ValueError(
                f"metrics method should be one of {', '.join(METHODS)}, got {self.method!r}"
            )

    def __call__(self, watched: Watched) -> dict[str, float]:
        """The figures."""
        return dict(self.measure(watched).figures)

    def measure(self, watched: Watched) -> Measured:
        """The figures, with an interval.

        Raises:
            ValueError: no model, or a codec that loses something.
        """
        model = watched.model
        if model is None:
            raise ValueError("a likelihood needs a model, not only samples")
        dataset = watched.split(self.split)
        shape = dataset.spec.shape
        stretch, entries = stretch_of(model, shape), math.prod(shape)
        is_image = isinstance(model.codec, Pixels)
        found = []
        for start, batch, count in blocks(dataset, self.num):
            key = jax.random.fold_in(jax.random.key(self.seed), start)
            x0 = model.codec.encode(jnp.asarray(batch["x"]))
            if is_image:
                x0 = dequantized(jax.random.fold_in(key, 1), x0)
            nats = _compiled(
                denoiser_of(model, batch),
                x0,
                key,
                model.schedule,
                probes=None if self.probes >= entries else self.probes,
                method=self.method,
                steps=self.steps,
            )
            found.append(np.asarray(nats, np.float64)[:count])
        each = -(np.concatenate(found) + stretch) / (entries * math.log(2))
        how = f"{self.steps} steps of {self.method}" if self.method != "adaptive" else "adaptive"
        trace = "exact trace" if self.probes >= entries else f"{self.probes} probes"
        spread = ", 8-bit levels evenly dequantized" if is_image else ", density"
        return Measured(
            {"flow_bits": float(each.mean())},
            intervals={"flow_bits": interval(each)},
            notes=(f"flow: {len(each):,} examples of {self.split}, {how}, {trace}{spread}",),
        )
