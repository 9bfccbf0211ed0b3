"""What a network is asked for, and how its answer is read: eps, x0, v, velocity, flow, EDM, VDM.

Each parameterization holds both directions, `target` for the loss and `read` for sampling, so that
training and sampling cannot disagree.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number
from diffax.schedules import Discrete, Point, Schedule, rate


@noun
class Prediction:
    """Both views of one guess: `x_t = alpha x0 + sigma eps`.

    Attributes:
        x0: the guessed clean data, `[B, ...]`.
        eps: the guessed noise, `[B, ...]`.
        log_variance: what the network says of the reverse step's variance, `[B, ...]`, or None:
            the log-variance itself, or its place in `[-1, 1]` between the two bounds
            (Nichol & Dhariwal 2021, eq. 15), as the solver is told.
    """

    x0: Array
    eps: Array
    log_variance: Array | None = None

    def at(self, point: Point) -> Array:
        """The guess put back on the path: `x = alpha x0 + sigma eps`, `[B, ...]`.

        Args:
            point: where to, scalar or `[B]`.

        Example:
            >>> point = Point(jnp.array(7.0), jnp.array(0.5), jnp.array(0.25))
            >>> Prediction(x0=jnp.ones((1, 1)), eps=jnp.zeros((1, 1))).at(point).tolist()
            [[0.5]]
        """
        at = point.broadcast(self.x0)
        return at.alpha * self.x0 + at.sigma * self.eps


class Parameterization(Protocol):
    """What every parameterization offers."""

    def network_input(self, x: Array, point: Point) -> tuple[Array, Array]:
        """What the network sees: its input and its time."""

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """What the network should answer."""

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """The network's answer as a prediction."""

    def sensitivity(self, point: Point) -> Array:
        """Squared error of the target per squared error of x0; a function of the log-SNR."""


class _PlainInput:
    def network_input(self, x: Array, point: Point) -> tuple[Array, Array]:
        """The input and the time as they are."""
        return x, point.t


@noun
class Eps(_PlainInput):
    """The network guesses the noise (Ho et al. 2020, eq. 11-12)."""

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """The noise."""
        return eps

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = (x - sigma eps) / alpha`; undefined at pure noise (`alpha = 0`)."""
        eps, log_variance = split_variance(output, x)
        at = point.broadcast(x)
        return Prediction((x - at.sigma * eps) / at.alpha, eps, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """The SNR."""
        return (point.alpha / point.sigma) ** 2


@noun
class X0(_PlainInput):
    """The network guesses the clean data."""

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """The clean data."""
        return x0

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`eps = (x - alpha x0) / sigma`; undefined at the clean end (`sigma = 0`)."""
        x0, log_variance = split_variance(output, x)
        at = point.broadcast(x)
        return Prediction(x0, (x - at.alpha * x0) / at.sigma, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """One."""
        return jnp.ones_like(point.alpha)


@noun
class V(_PlainInput):
    """The network guesses `v = alpha eps - sigma x0` (Salimans & Ho 2022, appendix D).

    Defined at both ends of time, pure noise and clean data.
    """

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`alpha eps - sigma x0`."""
        at = point.broadcast(x0)
        return at.alpha * eps - at.sigma * x0

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = (alpha x - sigma v) / n`, `eps = (sigma x + alpha v) / n`, `n = a^2 + s^2`."""
        v, log_variance = split_variance(output, x)
        at = point.broadcast(x)
        norm = at.alpha**2 + at.sigma**2
        x0 = (at.alpha * x - at.sigma * v) / norm
        return Prediction(x0, (at.sigma * x + at.alpha * v) / norm, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """`(alpha^2 + sigma^2)^2 / sigma^2`: SNR + 1 where variance is preserved."""
        return ((point.alpha**2 + point.sigma**2) / point.sigma) ** 2


@noun
class Velocity(_PlainInput):
    """The network guesses the straight path's velocity `eps - x0` (Lipman et al. 2023)."""

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`eps - x0`."""
        return eps - x0

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = (x - sigma u) / (alpha + sigma)`, `eps = x0 + u`."""
        u, log_variance = split_variance(output, x)
        at = point.broadcast(x)
        total = at.alpha + at.sigma
        return Prediction((x - at.sigma * u) / total, (x + at.alpha * u) / total, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """`(alpha + sigma)^2 / sigma^2`."""
        return ((point.alpha + point.sigma) / point.sigma) ** 2


@noun
class Flow(_PlainInput):
    """The network guesses the path's own velocity `dx_t / dt = alpha' x0 + sigma' eps`.

    Flow matching along any Gaussian path (Lipman et al. 2023, eq. 21-23; Albergo & Vanden-Eijnden
    2023); on the straight path it is `Velocity`.

    Attributes:
        schedule: the path, of a continuous time; a recipe leaves it out and its own fills it in.
    """

    schedule: Schedule | None = None

    def on(self, schedule: Schedule) -> "Flow":
        """The same, along this path.

        Raises:
            ValueError: a table of steps has no velocity.
        """
        if isinstance(schedule, Discrete):
            raise ValueError(
                "parameterization flow needs a schedule of continuous time, such as vp or "
                "rectified_flow; with a table use v or velocity"
            )
        return Flow(schedule)

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`alpha' x0 + sigma' eps`."""
        moving = self._rate(point).broadcast(x0)
        return moving.alpha * x0 + moving.sigma * eps

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = (sigma' x - sigma u) / n`, `eps = (alpha u - alpha' x) / n`."""
        u, log_variance = split_variance(output, x)
        at, moving = point.broadcast(x), self._rate(point).broadcast(x)
        n = _turn(at, moving)
        x0 = (moving.sigma * x - at.sigma * u) / n
        return Prediction(x0, (at.alpha * u - moving.alpha * x) / n, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """`(n / sigma)^2`, `n = alpha sigma' - alpha' sigma`."""
        return (_turn(point, self._rate(point)) / point.sigma) ** 2

    def _rate(self, point: Point) -> Point:
        if self.schedule is None:
            raise ValueError("parameterization flow was told no path: Flow(schedule)")
        return rate(self.schedule, point.t)


def _turn(at: Point, moving: Point) -> Array:
    """`alpha sigma' - alpha' sigma`: zero only where the path stands still."""
    return at.alpha * moving.sigma - moving.alpha * at.sigma


@noun
class EDM:
    """EDM's preconditioning (Karras et al. 2022, table 1 and eq. 7), for any schedule.

    With `k = sigma / alpha`, the network sees `c_in x / alpha` and `log(k) / 4`, and its answer F
    gives `x0 = c_skip x / alpha + c_out F`.

    Attributes:
        sigma_data: standard deviation of the data, > 0.
    """

    sigma_data: ArrayLike = number(default=0.5)

    def __post_init__(self) -> None:
        """Checks a plain number."""
        check_range("sigma_data", self.sigma_data, above=0)

    def _scales(self, at: Point) -> tuple[Array, Array, Array]:
        """`c_in / alpha`, `c_skip / alpha`, `c_out`; multiplied out, they exist at alpha = 0."""
        alpha, sigma, data = at.alpha, at.sigma, self.sigma_data
        total = sigma**2 + (alpha * data) ** 2
        scale = jax.lax.rsqrt(total)
        return scale, alpha * data**2 / total, sigma * data * scale

    def network_input(self, x: Array, point: Point) -> tuple[Array, Array]:
        """`c_in x / alpha` and `c_noise = log(k) / 4`, which stays finite at pure noise."""
        c_in, _, _ = self._scales(point.broadcast(x))
        return c_in * x, 0.25 * (jnp.log(point.sigma) - _log_alpha(point))

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`(x0 - c_skip x_t / alpha) / c_out`."""
        at = point.broadcast(x0)
        _, c_skip, c_out = self._scales(at)
        return (x0 - c_skip * (at.alpha * x0 + at.sigma * eps)) / c_out

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`x0 = c_skip x / alpha + c_out F`."""
        f, log_variance = split_variance(output, x)
        at = point.broadcast(x)
        _, c_skip, c_out = self._scales(at)
        x0 = c_skip * x + c_out * f
        return Prediction(x0, (x - at.alpha * x0) / at.sigma, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """`1 / c_out^2`."""
        _, _, c_out = self._scales(point)
        return 1 / c_out**2


@noun
class VDM:
    """As in variational diffusion: `eps = x_t + F` (Kingma et al. 2021, and their code).

    The network is told the noise level `gamma = -log SNR` as `(gamma - low) / (high - low)`.

    Attributes:
        low: gamma at which it is told 0: where the schedule begins.
        high: gamma at which it is told 1: where the schedule ends.
    """

    low: ArrayLike = number(default=-13.3)
    high: ArrayLike = number(default=5.0)

    def __post_init__(self) -> None:
        """Checks plain numbers."""
        check_range("low", self.low)
        check_range("high", self.high, above=self.low if isinstance(self.low, float) else None)

    def network_input(self, x: Array, point: Point) -> tuple[Array, Array]:
        """`x` and the noise level between `low` and `high`."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        gamma = 2 * (jnp.log(point.sigma) - _log_alpha(point))
        return x, (gamma - low) / (high - low)

    def target(self, x0: Array, eps: Array, point: Point) -> Array:
        """`eps - x_t`."""
        at = point.broadcast(x0)
        return eps - (at.alpha * x0 + at.sigma * eps)

    def read(self, output: Array, x: Array, point: Point) -> Prediction:
        """`eps = x + F`, `x0 = (x - sigma eps) / alpha`."""
        f, log_variance = split_variance(output, x)
        at, eps = point.broadcast(x), x + f
        return Prediction((x - at.sigma * eps) / at.alpha, eps, log_variance)

    def sensitivity(self, point: Point) -> Array:
        """The SNR, as for eps."""
        return (point.alpha / point.sigma) ** 2


def _log_alpha(point: Point) -> Array:
    """Finite at pure noise, too."""
    return jnp.log(jnp.maximum(point.alpha, jnp.finfo(point.alpha.dtype).tiny))


def split_variance(output: Array, x: Array) -> tuple[Array, Array | None]:
    """A network's answer in at least float32; a second half of channels is the log-variance.

    Raises:
        ValueError: the answer has neither the channels of `x` nor twice as many.
    """
    output = output.astype(jnp.promote_types(output.dtype, jnp.float32))
    channels = x.shape[-1]
    if output.shape == x.shape:
        return output, None
    if output.shape == (*x.shape[:-1], 2 * channels):
        return output[..., :channels], output[..., channels:]
    raise ValueError(
        f"the network should answer with shape {x.shape}, or with twice the channels where it "
        f"learns variances, got {output.shape}; check its out_channels"
    )


BY_NAME: dict[str, type] = {
    "eps": Eps,
    "x0": X0,
    "v": V,
    "velocity": Velocity,
    "flow": Flow,
    "edm": EDM,
    "vdm": VDM,
}
