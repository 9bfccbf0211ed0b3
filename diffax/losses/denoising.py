"""The denoising loss: a weighted mean squared error of the network's target on noised data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from diffax import gaussian
from diffax.losses.second_moment import SecondMoment
from diffax.losses.times import LogNormal, TimeSampling
from diffax.losses.variational import LearnedVariance
from diffax.losses.weightings import Weighting
from diffax.parameterization import Parameterization, split_variance
from diffax.schedules import Discrete, Point, Schedule

_NO_CONDITION: dict[str, Array] = {}


def diffusion_loss(
    apply: Callable[..., Array],
    params: Any,
    x0: Array,
    key: Array,
    *,
    schedule: Schedule,
    parameterization: Parameterization,
    times: TimeSampling,
    weighting: Weighting,
    condition: Any = _NO_CONDITION,
    variance: LearnedVariance | None = None,
    couple: Callable[[Array, Array], Array] | None = None,
    noise_offset: float = 0.0,
    importance: Array | None = None,
    log_variance: Callable[[Point], Array] | None = None,
) -> tuple[Array, dict[str, Array]]:
    """`E[w(t) |answer - target|^2]`: L_simple (Ho et al. 2020, eq. 14) for constant weights.

    With `variance` it is the hybrid loss `L_simple + weight L_vlb` (Nichol & Dhariwal 2021, eq.
    16), of a network that answers twice the data's channels.

    Args:
        apply: `(params, x, t, condition) -> output`.
        params: the network's parameters.
        x0: clean data, `[B, ...]`, in model range.
        key: a random key; times and noise use keys of their own.
        schedule: the noise schedule.
        parameterization: what the network is asked for.
        times: draws a point for every example, such as `Uniform()`.
        weighting: weight of every example, such as `Constant()`.
        condition: what the network is told besides, a dict of arrays `[B, ...]`.
        variance: how the reverse step's variance is learned, or None where it is not.
        couple: `(x0, eps) -> eps`, which noise goes with which data; None: as it is drawn.
        noise_offset: standard deviation of a normal number that is added to all noise of an
            example's channel, so that its mean is learned, too (Guttenberg 2023); 0: none.
        importance: a factor on each example's loss, `[B]`; None: 1.
        log_variance: `point -> u`, `[B]`, by which the weighted error becomes `error / e^u + u`,
            see `Uncertainty`; None: it stays as it is.

    Returns:
        The loss, a float32 scalar, and `{"t", "mse", "weighted", "loss"}`, each `[B]`; with
        `variance` also `"vlb"`, an estimate of the variational bound from each example's time, in
        bits per dimension. The scalar is the mean of `"loss"`, which is `weighted +
        variance.weight * vlb`, over uniform times where `times` are a `SecondMoment`.

    Raises:
        ValueError: the answer has not the shape of `x0` (with `variance`: twice its channels), or
            `variance` goes with a continuous schedule or `LogNormal` times.

    Example:
        >>> from diffax import parameterization, schedules
        >>> from diffax.losses import Constant, Uniform
        >>> loss, parts = diffusion_loss(
        ...     lambda params, x, t, condition: params * x, 0.5, jnp.zeros((4, 2)),
        ...     jax.random.key(0), schedule=schedules.linear(10),
        ...     parameterization=parameterization.Eps(), times=Uniform(), weighting=Constant(),
        ... )
        >>> loss.shape, sorted(parts)
        ((), ['loss', 'mse', 't', 'weighted'])
    """
    table = None if variance is None else _table(schedule, times)
    time_key, noise_key = jax.random.split(key)
    point = times(time_key, schedule, x0.shape[0])
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    if couple is not None:
        eps = couple(x0, eps)
    if noise_offset:
        of_channel = (x0.shape[0], *(1,) * (x0.ndim - 2), x0.shape[-1])
        offset_key = jax.random.fold_in(noise_key, 1)
        eps = eps + noise_offset * jax.random.normal(offset_key, of_channel, x0.dtype)
    x = gaussian.q_sample(x0, eps, point)
    shown, t = parameterization.network_input(x, point)
    output = apply(params, shown, t, condition)
    answer, of_step = split_variance(output, x0)
    if (of_step is None) != (variance is None):
        raise ValueError(
            f"the network answers with shape {output.shape} to data of shape {x0.shape}; twice the "
            "channels go together with variance=LearnedVariance()"
        )
    mse = _mean_over_example((answer - parameterization.target(x0, eps, point)) ** 2)
    weighted = mse * weighting(point, parameterization, schedule)
    if log_variance is not None:
        spread = log_variance(point)
        weighted = weighted * jnp.exp(-spread) + spread
    weighted = weighted if importance is None else weighted * importance
    parts = {"t": point.t, "mse": mse, "weighted": weighted, "loss": weighted}
    if variance is not None and table is not None:
        prediction = parameterization.read(output, x, point)
        parts["vlb"] = variance.bound(prediction, x0, eps, table, point.t)
        parts["loss"] = weighted + variance.weight * parts["vlb"]
    if isinstance(times, SecondMoment):
        return jnp.mean(parts["loss"] * times.importance(point, schedule)), parts
    return jnp.mean(parts["loss"]), parts


def _table(schedule: Schedule, times: TimeSampling) -> Discrete:
    """The schedule, which must be a table: the bound is a sum over its steps."""
    if not isinstance(schedule, Discrete):
        raise ValueError(
            "LearnedVariance needs the steps of a table such as schedules.linear(), got the "
            f"continuous {type(schedule).__name__}; use a table or leave variance at None"
        )
    if isinstance(times, LogNormal):
        raise ValueError(
            "LearnedVariance needs whole times, drawn evenly, got LogNormal; "
            "use Uniform, Antithetic or Stratified times"
        )
    return schedule


def _mean_over_example(x: Array) -> Array:
    return jnp.mean(x, axis=tuple(range(1, x.ndim)), dtype=jnp.float32)
