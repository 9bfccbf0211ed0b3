"""The likelihood of held-out data under the probability flow, in bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from diffax.codecs import Pixels
from diffax.compilation import jit
from diffax.evaluation.dequantization import Even, Learned, Spread
from diffax.evaluation.examples import blocks, denoiser_of, interval, stretch_of
from diffax.evaluation.metric import Measured, Watched
from diffax.sampling import flow_log_likelihood
from diffax.sampling.likelihood import METHODS

_compiled = jit(flow_log_likelihood, static_argnames=("probes", "method", "steps", "max_steps"))


@dataclass(frozen=True)
class FlowBits:
    """`-log2 p` an entry of another split under the probability flow, as `flow_bits`.

    Of 8-bit images it is a bound: they are spread over their levels' bins, evenly (Theis et al.
    2016) or as a small network has learned to (Ho et al. 2019), which is tighter. Of all other data
    it is a density's, in the data's own units (Song et al. 2021).
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
    dequantization: Any = Even()
    """How 8-bit images are spread over their levels' bins: even, learned."""
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
        spread = self._spread(watched) if is_image else None
        found = []
        for start, batch, count in blocks(dataset, self.num):
            key = jax.random.fold_in(jax.random.key(self.seed), start)
            x0, log_q = model.codec.encode(jnp.asarray(batch["x"])), 0.0
            if spread is not None:
                x0, log_q = spread(jax.random.fold_in(key, 1), x0)
            nats = _compiled(
                denoiser_of(model, batch),
                x0,
                key,
                model.schedule,
                probes=None if self.probes >= entries else self.probes,
                method=self.method,
                steps=self.steps,
            )
            found.append(np.asarray(nats - log_q, np.float64)[:count])
        each = -(np.concatenate(found) + stretch) / (entries * math.log(2))
        how = f"{self.steps} steps of {self.method}" if self.method != "adaptive" else "adaptive"
        trace = "exact trace" if self.probes >= entries else f"{self.probes} probes"
        kind = "learned" if isinstance(self.dequantization, Learned) else "even"
        how_spread = f", 8-bit levels, {kind} dequantization" if is_image else ", density"
        return Measured(
            {"flow_bits": float(each.mean())},
            intervals={"flow_bits": interval(each)},
            notes=(f"flow: {len(each):,} examples of {self.split}, {how}, {trace}{how_spread}",),
        )

    def _spread(self, watched: Watched) -> Spread:
        """How images are spread over their bins; what is learned for it is learned here."""

        def log_density(denoiser: Any, x0: jax.Array, key: jax.Array) -> jax.Array:
            return flow_log_likelihood(
                denoiser, x0, key, watched.model.schedule, probes=1, method="heun", steps=self.steps
            )

        size = getattr(self.dequantization, "batch_size", 0)
        return self.dequantization.fitted(log_density, self._training(watched, size))

    def _training(self, watched: Watched, size: int) -> Iterator[tuple[Any, jax.Array]]:
        """Images of the split `train` in model space, without end, each with its denoiser."""
        dataset, rng = watched.split("train"), np.random.default_rng(self.seed)
        while True:
            batch = dataset.examples(rng.integers(dataset.spec.size, size=size))
            x0 = watched.model.codec.encode(jnp.asarray(batch["x"]))
            yield denoiser_of(watched.model, batch), x0
