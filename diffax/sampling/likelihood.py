"""Exact likelihoods by the probability-flow ODE (Song et al. 2021, sec. 4.3 and app. D.2).

The flow is followed in the angle `phi = atan(sigma / alpha)` of the state
`z = cos(phi) x_0 + sin(phi) eps`, which is `x_t` brought to `alpha^2 + sigma^2 = 1`, so that one
formula serves every schedule:

    dz / dphi = cos(phi) eps(z) - sin(phi) x_0(z),
    log p(z at the clean end) = log p(z at the noisy end) + integral of div(dz / dphi) dphi.

Steps are even in `log(sigma / alpha)`, where the field changes at an even pace.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax import gaussian
from diffax.denoiser import Denoiser
from diffax.gaussian import Gaussian
from diffax.schedules import Discrete, Schedule
from diffax.solvers.adaptive import integrate

# At the n-th stage the state is that of the (n-1)-th slope, taken `node` of the step further.
_NODES = {"heun": (0.0, 1.0), "rk4": (0.0, 0.5, 0.5, 1.0)}
_WEIGHTS = {"heun": (1 / 2, 1 / 2), "rk4": (1 / 6, 1 / 3, 1 / 3, 1 / 6)}
METHODS = (*_NODES, "adaptive")

_CLEAN = 2e-3  # sigma / alpha at which the flow of a continuous schedule begins: half a grey level
_NOISY = 1e3  # from here on data of unit size have no say: 1e-6 of the variance


def flow_log_likelihood(
    denoiser: Denoiser,
    x0: Array,
    key: Array,
    schedule: Schedule,
    *,
    probes: int | None = None,
    method: str = "rk4",
    steps: int = 50,
    clean: ArrayLike | None = None,
    rtol: ArrayLike = 1e-5,
    atol: ArrayLike = 1e-5,
    max_steps: int = 4096,
) -> Array:
    """Log-density of data under the probability flow (Song et al. 2021, eq. 39).

    The model is the flow from noise down to the noise level `clean`, whose end counts as data.

    Args:
        denoiser: guesses x0 and eps; without limits such as clipping, under which the flow is no
            longer smooth.
        x0: data in model space, `[B, ...]`; 8-bit data should be dequantized, see `dequantized`.
        key: of the probes.
        schedule: any.
        probes: random signs by which the divergence is estimated without bias (Hutchinson), P of
            them for every example; None: it is exact, at the cost of one probe for each entry of
            an example.
        method: `heun` or `rk4`, with even steps, or `adaptive` (Dormand-Prince, needs diffrax).
        steps: of the fixed-step methods, >= 1.
        clean: `sigma / alpha` where the flow begins; None: the first entry of a table, 0.002 for
            continuous schedules.
        rtol: relative tolerance of `adaptive`.
        atol: absolute tolerance of `adaptive`.
        max_steps: `adaptive` gives up (with NaN) after so many.

    Returns:
        Nats an example, `[B]`.

    Raises:
        ValueError: an unknown method, or fewer than one step or probe.

    Example:
        >>> from diffax import mixture, schedules
        >>> data = mixture.GaussianMixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1))
        >>> x0 = jax.random.normal(jax.random.key(0), (8, 2))
        >>> found = flow_log_likelihood(data, x0, jax.random.key(1), schedules.VP())
        >>> exact = jnp.sum(jax.scipy.stats.norm.logpdf(x0), axis=1)
        >>> bool(jnp.abs(found - exact).max() < 1e-3)
        True
    """
    if method not in METHODS:
        raise ValueError(f"method should be one of {', '.join(METHODS)}, got {method!r}")
    if steps < 1 or (probes is not None and probes < 1):
        raise ValueError(f"steps and probes must be >= 1, got {steps} and {probes}")
    if clean is None:
        clean = schedule.at(0).sigma_ratio if isinstance(schedule, Discrete) else _CLEAN
    start = jnp.log(jnp.asarray(clean, jnp.float32))
    end = jnp.log(jnp.minimum(schedule.start.sigma_ratio, _NOISY)).astype(jnp.float32)
    signs = _probes(key, x0, probes)

    def slope(u: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        z, _ = state
        return _with_divergence(lambda z: _velocity(denoiser, schedule, z, u), z, signs, probes)

    cos_start, _ = _angle(start)
    begin = (cos_start * x0, jnp.zeros(x0.shape[:1], jnp.float32))
    if method == "adaptive":
        (z, gained), _ = integrate(slope, begin, start, end, rtol, atol, max_steps)
    else:
        z, gained = _fixed_steps(slope, begin, start, end, steps, method)
    _, sin_end = _angle(end)
    at_end = gaussian.log_prob(z, Gaussian(jnp.zeros(()), sin_end**2))
    dimensions = math.prod(x0.shape[1:])
    return gaussian.sum_over_example(at_end) + gained + dimensions * jnp.log(cos_start)


def dequantized(key: Array, x0: Array, levels: int = 256) -> Array:
    """Data on a grid of `levels` values in `[-1, 1]`, spread evenly over their bins.

    The mean of `-log p` of the result is at least `-log P` of the data plus the log of a bin's
    size (Theis et al. 2016, eq. 3), in an example of D entries `D log(2 / (levels - 1))`.
    """
    width = 2 / (levels - 1)
    return x0 + width * (jax.random.uniform(key, x0.shape) - 0.5)


def _angle(u: Array) -> tuple[Array, Array]:
    """Cosine and sine of phi for `u = log(sigma / alpha)`."""
    return jnp.sqrt(jax.nn.sigmoid(-2 * u)), jnp.sqrt(jax.nn.sigmoid(2 * u))


def _velocity(denoiser: Denoiser, schedule: Schedule, z: Array, u: Array) -> Array:
    """`dz / du`; `dphi / du = sin(phi) cos(phi)`."""
    at = schedule.at_logsnr(-2 * u)
    cos, sin = _angle(u)
    guess = denoiser(jnp.hypot(at.alpha, at.sigma) * z, at)
    return sin * cos * (cos * guess.eps - sin * guess.x0)


def _probes(key: Array, x0: Array, probes: int | None) -> Array:
    """Random signs `[P, B, ...]`, or the D unit vectors `[D, 1, ...]`."""
    if probes is not None:
        return jax.random.rademacher(key, (probes, *x0.shape), x0.dtype)
    dimensions = math.prod(x0.shape[1:])
    return jnp.eye(dimensions, dtype=x0.dtype).reshape(dimensions, 1, *x0.shape[1:])


def _with_divergence(
    field: Callable[[Array], Array], z: Array, signs: Array, probes: int | None
) -> tuple[Array, Array]:
    """The field at `z`, and its divergence, `[B]`: `sum_i e_i J e_i`, or the mean of `v J v`."""
    # Backwards, `v (v J)`: the other derivative of a convolution is slow in loops on a CPU.
    value, backwards = jax.vjp(field, z)

    def along(v: Array) -> Array:
        v = jnp.broadcast_to(v, z.shape)
        return gaussian.sum_over_example(v * backwards(v)[0])

    each = jax.lax.map(along, signs)
    return value, jnp.sum(each, axis=0) if probes is None else jnp.mean(each, axis=0)


def _fixed_steps(
    slope: Callable[[Array, tuple[Array, Array]], tuple[Array, Array]],
    state: tuple[Array, Array],
    start: Array,
    end: Array,
    steps: int,
    method: str,
) -> tuple[Array, Array]:
    h = (end - start) / steps

    def moved(state: tuple, by: ArrayLike, slopes: tuple) -> tuple:
        return jax.tree.map(lambda y, k: (y + by * k).astype(y.dtype), state, slopes)

    # A loop over the stages, so that the field and its derivative are compiled once.
    stages = jnp.asarray(_NODES[method], h.dtype), jnp.asarray(_WEIGHTS[method], h.dtype)

    def step(state: tuple, u: Array) -> tuple[tuple, None]:
        def stage(carry: tuple, at: tuple[Array, Array]) -> tuple[tuple, None]:
            (found, total), (node, weight) = carry, at
            found = slope(u + node * h, moved(state, node * h, found))
            found = jax.tree.map(lambda y, k: k.astype(y.dtype), state, found)
            return (found, moved(total, weight * h, found)), None

        still = jax.tree.map(jnp.zeros_like, state)
        (_, total), _ = jax.lax.scan(stage, (still, state), stages)
        return total, None

    return jax.lax.scan(step, state, start + h * jnp.arange(steps))[0]
