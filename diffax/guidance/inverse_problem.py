"""Guidance by a measurement: super-resolution, deblurring and inpainting as inverse problems."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffax.denoiser import Denoiser
from diffax.guidance.classifier import shifted
from diffax.noun import noun, number, structure
from diffax.parameterization import Prediction
from diffax.schedules import Point


@noun
class Reconstruction:
    """Samples that agree with a linear measurement `y = A x_0 + noise`, without training for it.

    Pseudo-inverse guidance (Song et al. 2023, PiGDM, eq. 7 and algorithm 1):

        grad log p(y | x_t) = (y - A x0)^T (r^2 A A^T + noise_std^2 I)^-1 A (d x0 / d x_t)

    is added to the score; x0 is the guess at `x_t`, and `p(y | x_t)` is taken as Gaussian around
    `A x0`. Exact for Gaussian data. Each call costs the network's forward and backward pass.

    Attributes:
        denoiser: what is wrapped.
        operator: `x [B, ...] -> y [B, ...]`, linear in x, such as a blur or a mean over blocks;
            static.
        measurement: y, `[B, ...]`; traced.
        noise_std: standard deviation of the measurement's noise.
        data_std: standard deviation of the data, for `r^2 = s^2 sigma^2 / (s^2 alpha^2 + sigma^2)`.
        strength: factor on the guidance; 1 is the formula's.
        iterations: of the conjugate gradients that invert the covariance; few suffice, and one
            where `A A^T` is a multiple of the identity (masks, means over blocks).
    """

    denoiser: Denoiser
    operator: Callable[[Array], Array] = structure()
    measurement: Array
    noise_std: ArrayLike = number(default=0.0)
    data_std: ArrayLike = number(default=1.0)
    strength: ArrayLike = number(default=1.0)
    iterations: int = structure(default=10)

    def __call__(self, x: Array, point: Point) -> Prediction:
        """The guess moved towards agreement with the measurement."""

        def guessed_x0(x: Array) -> tuple[Array, Prediction]:
            guess = self.denoiser(x, point)
            return guess.x0, guess

        x0, jacobian_transposed, guess = jax.vjp(guessed_x0, x, has_aux=True)
        measured, adjoint = self.operator(x0), jax.linear_transpose(self.operator, x0)
        if measured.shape != self.measurement.shape:
            raise ValueError(
                f"the operator gives measurements of shape {measured.shape}, got a measurement of "
                f"shape {self.measurement.shape}"
            )
        at = point.broadcast(measured)
        data = jnp.asarray(self.data_std) ** 2
        spread = data * at.sigma**2 / (data * at.alpha**2 + at.sigma**2)

        def covariance(u: Array) -> Array:
            return spread * self.operator(adjoint(u)[0]) + self.noise_std**2 * u

        residual = self.measurement - measured
        weighted, _ = jax.scipy.sparse.linalg.cg(
            covariance, residual, tol=1e-6, maxiter=self.iterations
        )
        (score,) = jacobian_transposed(adjoint(weighted)[0].astype(x0.dtype))
        return shifted(guess, self.strength * score, x, point)
