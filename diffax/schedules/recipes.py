"""Recipes of tables: a few plain numbers each, checked at once, that `build` a `Discrete`.

Every recipe is a frozen dataclass whose fields are JSON; `Cosine(num_steps=100).build()` and
`cosine(100)` are the same table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from diffax.noun import check_range
from diffax.schedules.discrete import (
    Discrete,
    checked_alpha_bars,
    checked_betas,
    from_alpha_bars,
    from_betas,
    zero_terminal_snr,
)


@dataclass(frozen=True)
class _Table:
    """What every recipe of a table can do.

    Attributes:
        zero_terminal_snr: shift the table so that its last step is pure noise
            (Lin et al. 2023, algorithm 1); for v- and x0-prediction.
    """

    zero_terminal_snr: bool = field(default=False, kw_only=True)

    def table(self) -> Discrete:
        """The table as its formula says, before any shift."""
        raise NotImplementedError

    def build(self) -> Discrete:
        """The schedule."""
        table = self.table()
        return zero_terminal_snr(table) if self.zero_terminal_snr else table


@dataclass(frozen=True)
class Linear(_Table):
    """DDPM's table: betas linear in t (Ho et al. 2020, section 4).

    Attributes:
        num_steps: T, at least 1.
        beta_start: the first step's beta, in (0, 1].
        beta_end: the last step's beta, in (0, 1].
        zero_terminal_snr: shift the table so that its last step is pure noise.

    Example:
        >>> Linear(num_steps=10).build().num_steps
        10
    """

    num_steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_steps(self.num_steps)
        check_range("beta_start", self.beta_start, above=0, most=1)
        check_range("beta_end", self.beta_end, above=0, most=1)

    def table(self) -> Discrete:
        """Betas `linspace(beta_start, beta_end, T)`."""
        return from_betas(np.linspace(self.beta_start, self.beta_end, self.num_steps))


@dataclass(frozen=True)
class ScaledLinear(_Table):
    """Stable Diffusion's table: `sqrt(beta)` linear in t (Rombach et al. 2022).

    Attributes:
        num_steps: T, at least 1.
        beta_start: the first step's beta, in (0, 1].
        beta_end: the last step's beta, in (0, 1].
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    num_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_steps(self.num_steps)
        check_range("beta_start", self.beta_start, above=0, most=1)
        check_range("beta_end", self.beta_end, above=0, most=1)

    def table(self) -> Discrete:
        """Betas `linspace(sqrt(beta_start), sqrt(beta_end), T)^2`."""
        return from_betas(
            np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.num_steps) ** 2
        )


@dataclass(frozen=True)
class Cosine(_Table):
    """The cosine table (Nichol & Dhariwal 2021, eq. 17), each beta capped.

    Attributes:
        num_steps: T, at least 1.
        offset: keeps the first betas from vanishing, >= 0; the paper's `s`.
        max_beta: cap on each beta, in (0, 1], which keeps the last step finite.
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    num_steps: int = 1000
    offset: float = 0.008
    max_beta: float = 0.999

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_steps(self.num_steps)
        check_range("offset", self.offset, least=0)
        check_range("max_beta", self.max_beta, above=0, most=1)

    def table(self) -> Discrete:
        """`alpha_bar_t = f(t) / f(0)`, `f(t) = cos^2((t / T + s) / (1 + s) pi / 2)`."""
        angles = (_edges(self.num_steps) + self.offset) / (1 + self.offset) * np.pi / 2
        return from_betas(_betas_of(np.cos(angles) ** 2, self.max_beta))


@dataclass(frozen=True)
class Sigmoid(_Table):
    """The sigmoid table: alpha_bar follows a sigmoid (Jabri et al. 2022; Chen 2023, algorithm 1).

    Attributes:
        num_steps: T, at least 1.
        start: where on the sigmoid the clean end lies; below `end`.
        end: where on the sigmoid the noisy end lies.
        tau: temperature, > 0; larger is closer to linear in alpha_bar.
        max_beta: cap on each beta, in (0, 1], which keeps the last step finite.
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    num_steps: int = 1000
    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    max_beta: float = 0.999

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_steps(self.num_steps)
        check_range("start", self.start)
        check_range("end", self.end, above=self.start)
        check_range("tau", self.tau, above=0)
        check_range("max_beta", self.max_beta, above=0, most=1)

    def table(self) -> Discrete:
        """`alpha_bar_t = (f(T) - f(t)) / (f(T) - f(0))`, f the logistic function over tau."""
        places = self.start + _edges(self.num_steps) * (self.end - self.start)
        curve = 1.0 / (1.0 + np.exp(-places / self.tau))
        return from_betas(_betas_of((curve[-1] - curve) / (curve[-1] - curve[0]), self.max_beta))


@dataclass(frozen=True)
class SigmoidBeta(_Table):
    """The S-curve tutorial's table: *betas* follow a sigmoid over `[low, high]`.

    With its published settings 78 % of the signal's power is left at the last step
    (`terminal_signal` = 0.778), so that samples started from N(0, I) are biased.

    Attributes:
        num_steps: T, at least 1.
        beta_start: beta at the sigmoid's lower end, in (0, 1].
        beta_end: beta at its upper end, in (0, 1].
        low: where on the sigmoid the first step lies.
        high: where on the sigmoid the last step lies.
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    num_steps: int = 100
    beta_start: float = 1e-5
    beta_end: float = 5e-3
    low: float = -6.0
    high: float = 6.0

    def __post_init__(self) -> None:
        """Checks every number."""
        _check_steps(self.num_steps)
        check_range("beta_start", self.beta_start, above=0, most=1)
        check_range("beta_end", self.beta_end, above=0, most=1)
        check_range("low", self.low)
        check_range("high", self.high)

    def table(self) -> Discrete:
        """Betas `beta_start + (beta_end - beta_start) f(linspace(low, high, T))`, f logistic."""
        curve = 1.0 / (1.0 + np.exp(-np.linspace(self.low, self.high, self.num_steps)))
        return from_betas((self.beta_end - self.beta_start) * curve + self.beta_start)


@dataclass(frozen=True)
class Betas(_Table):
    """A table given by the variances of its single steps.

    Attributes:
        betas: `beta_t`, each in (0, 1].
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    betas: Sequence[float]

    def __post_init__(self) -> None:
        """Checks the table and keeps it as a tuple."""
        object.__setattr__(self, "betas", tuple(checked_betas(self.betas).tolist()))

    def table(self) -> Discrete:
        """The table as given."""
        return from_betas(self.betas)


@dataclass(frozen=True)
class AlphaBars(_Table):
    """A table given by its signal powers.

    Attributes:
        alpha_bars: `alpha_bar_t`, strictly decreasing in [0, 1).
        zero_terminal_snr: shift the table so that its last step is pure noise.
    """

    alpha_bars: Sequence[float]

    def __post_init__(self) -> None:
        """Checks the table and keeps it as a tuple."""
        bars = checked_alpha_bars(self.alpha_bars)
        object.__setattr__(self, "alpha_bars", tuple(bars.tolist()))

    def table(self) -> Discrete:
        """The table as given."""
        return from_alpha_bars(self.alpha_bars)


def linear(
    num_steps: int = Linear.num_steps,
    beta_start: float = Linear.beta_start,
    beta_end: float = Linear.beta_end,
) -> Discrete:
    """DDPM's table; see `Linear`."""
    return Linear(num_steps, beta_start, beta_end).build()


def scaled_linear(
    num_steps: int = ScaledLinear.num_steps,
    beta_start: float = ScaledLinear.beta_start,
    beta_end: float = ScaledLinear.beta_end,
) -> Discrete:
    """Stable Diffusion's table; see `ScaledLinear`."""
    return ScaledLinear(num_steps, beta_start, beta_end).build()


def cosine(
    num_steps: int = Cosine.num_steps,
    offset: float = Cosine.offset,
    max_beta: float = Cosine.max_beta,
) -> Discrete:
    """The cosine table; see `Cosine`."""
    return Cosine(num_steps, offset, max_beta).build()


def sigmoid(
    num_steps: int = Sigmoid.num_steps,
    start: float = Sigmoid.start,
    end: float = Sigmoid.end,
    tau: float = Sigmoid.tau,
    max_beta: float = Sigmoid.max_beta,
) -> Discrete:
    """The sigmoid table of alpha_bar; see `Sigmoid`."""
    return Sigmoid(num_steps, start, end, tau, max_beta).build()


def sigmoid_beta(
    num_steps: int = SigmoidBeta.num_steps,
    beta_start: float = SigmoidBeta.beta_start,
    beta_end: float = SigmoidBeta.beta_end,
    low: float = SigmoidBeta.low,
    high: float = SigmoidBeta.high,
) -> Discrete:
    """The S-curve tutorial's table of betas; see `SigmoidBeta`."""
    return SigmoidBeta(num_steps, beta_start, beta_end, low, high).build()


def _edges(num_steps: int) -> np.ndarray:
    """`t / T` for t = 0 .. T: the ends of the steps."""
    return np.arange(num_steps + 1) / num_steps


def _betas_of(bars: np.ndarray, max_beta: float) -> np.ndarray:
    return np.minimum(1 - bars[1:] / bars[:-1], max_beta)


def _check_steps(num_steps: int) -> None:
    is_whole = isinstance(num_steps, int | np.integer) and not isinstance(num_steps, bool)
    if not (is_whole and num_steps >= 1):
        raise ValueError(
            f"num_steps should be a whole number, at least one step, got {num_steps!r}"
        )
