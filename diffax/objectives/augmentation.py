"""EDM's augmentation of images, of which the network is told, so that it does not leak.

Karras et al. 2022, appendix F.2, after Karras et al. 2020 ("Training generative adversarial
networks with limited data"): flips, scaling, rotation, stretching along an axis, and shifts.
"""

from __future__ import annotations

import functools
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffax.noun import check_range, noun, number

# Low-pass filter of the symlet wavelet of order 6, Daubechies 1992, table 8.1. Its sum is sqrt(2).
SYMLET = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
MARGIN = len(SYMLET) // 4  # pixels around the result that its filter looks at


class Changes(NamedTuple):
    """What is done to every image, all `[B]`; zeros change nothing.

    Attributes:
        mirrored: 1: left becomes right.
        upended: 1: top becomes bottom.
        scale: enlarged by 2 ** (0.2 scale).
        angle: turned by it against the clock, in radians.
        stretch: stretched by 2 ** (0.2 stretch) along an axis, and squeezed across it.
        axis: the axis' angle against the clock from the horizontal, in radians.
        right: shifted by an eighth of the width times it.
        down: shifted by an eighth of the height times it.
    """

    mirrored: Array
    upended: Array
    scale: Array
    angle: Array
    stretch: Array
    axis: Array
    right: Array
    down: Array

    @property
    def labels(self) -> Array:
        """What the network is told, `[B, 9]`; zeros where nothing was changed."""
        columns = (
            self.mirrored,
            self.upended,
            self.scale,
            jnp.cos(self.angle) - 1,
            jnp.sin(self.angle),
            self.stretch * jnp.cos(self.axis),
            self.stretch * jnp.sin(self.axis),
            self.right,
            self.down,
        )
        return jnp.stack(columns, axis=-1)


@noun
class NonLeaking:
    """Changes images at random and says how: x, and `{"augment": [B, 9]}` for the network.

    Trained so, a network that is told of no change draws images that look unchanged.

    Attributes:
        probability: of each change apart, 0 to 1: 0.12 in EDM for CIFAR-10, 0.15 for FFHQ; every
            second image is mirrored whatever it is.

    Example:
        >>> x = jnp.zeros((4, 8, 8, 3))
        >>> changed, told = NonLeaking(0.5)(jax.random.key(0), x)
        >>> changed.shape, told.shape
        ((4, 8, 8, 3), (4, 9))
    """

    probability: ArrayLike = number(default=0.12)

    size: ClassVar[int] = 9

    def __post_init__(self) -> None:
        """Checks a plain number."""
        check_range("augmentation.probability", self.probability, least=0, most=1)

    def __call__(self, key: Array, x: Array) -> tuple[Array, Array]:
        """The changed images and what the network is told.

        Args:
            key: of this batch.
            x: `[B, H, W, C]`.

        Returns:
            Images of the same shape, and labels `[B, 9]`, float32.
        """
        changes = self.draw(key, x.shape[0])
        return changed(x, changes), changes.labels

    def draw(self, key: Array, num: int) -> Changes:
        """Changes for `num` images."""
        chances, values, axes = jax.random.split(key, 3)
        chance = jax.random.uniform(chances, (5, num)) < self.probability
        upended, scaled, turned, stretched, shifted = chance.astype(jnp.float32)
        flips, angles, sizes = jax.random.split(values, 3)
        flip = jax.random.bernoulli(flips, 0.5, (2, num)).astype(jnp.float32)
        angle = jax.random.uniform(angles, (2, num), minval=-math.pi, maxval=math.pi)
        size = jax.random.normal(sizes, (4, num))
        return Changes(
            mirrored=flip[0],
            upended=upended * flip[1],
            scale=scaled * size[0],
            angle=turned * angle[0],
            stretch=stretched * size[1],
            axis=angle[1] * jax.random.bernoulli(axes, 0.5, (num,)),
            right=shifted * size[2],
            down=shifted * size[3],
        )


def changed(x: Array, changes: Changes) -> Array:
    """Images `[B, H, W, C]` after flips and an affine map, resampled at twice the resolution.

    Beyond its border an image goes on as its mirror image, once; further out it is zero.
    """
    height, width = x.shape[1:3]
    x = jnp.where(changes.mirrored[:, None, None, None] == 1, x[:, :, ::-1], x)
    x = jnp.where(changes.upended[:, None, None, None] == 1, x[:, ::-1], x)
    rows, columns = (jnp.asarray(_doubling(side), x.dtype) for side in (height, width))
    fine = jnp.einsum("pi,qj,bijc->bpqc", rows, columns, x)
    moved = jax.vmap(functools.partial(_sampled, height, width))(fine, _inverse(changes, x.shape))
    rows, columns = (jnp.asarray(_halving(side), x.dtype) for side in (height, width))
    return jnp.einsum("ip,jq,bpqc->bijc", rows, columns, moved)


def _inverse(changes: Changes, shape: tuple[int, ...]) -> Array:
    """From a place in the result to the place in the image, `[B, 3, 3]`, in pixels from its middle.

    Places are (x, y, 1) with x to the right and y down.
    """
    _, height, width, _ = shape
    bigger, longer = jnp.exp2(-0.2 * changes.scale), jnp.exp2(-0.2 * changes.stretch)
    maps = (
        _scaling(bigger, bigger),
        _rotation(changes.angle),
        _rotation(-changes.axis),
        _scaling(longer, 1 / longer),
        _rotation(changes.axis),
        _translation(-changes.right * width / 8, -changes.down * height / 8),
    )
    return functools.reduce(jnp.matmul, maps)


def _matrix(*entries: Array) -> Array:
    """Nine entries, row by row, as `[B, 3, 3]`."""
    return jnp.stack(jnp.broadcast_arrays(*entries), axis=-1).reshape(-1, 3, 3)


def _scaling(x: Array, y: Array) -> Array:
    zero = jnp.zeros_like(x)
    return _matrix(x, zero, zero, zero, y, zero, zero, zero, zero + 1)


def _rotation(angle: Array) -> Array:
    cos, sin, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    return _matrix(cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1)


def _translation(x: Array, y: Array) -> Array:
    zero = jnp.zeros_like(x)
    return _matrix(zero + 1, zero, x, zero, zero + 1, y, zero, zero, zero + 1)


def _sampled(height: int, width: int, fine: Array, inverse: Array) -> Array:
    """A doubled image `[P, Q, C]` at the places that the map gives, `[2 H + 12, 2 W + 12, C]`."""
    sides = (2 * (height + 2 * MARGIN), 2 * (width + 2 * MARGIN))
    # The middle of a doubled pixel lies half a doubled pixel off, on both ends of the map.
    down, right = (jnp.arange(side) - (side - 1) / 2 + 0.5 for side in sides)
    y, x = jnp.meshgrid(down / 2, right / 2, indexing="ij")
    places = jnp.einsum("ij,jpq->ipq", inverse, jnp.stack([x, y, jnp.ones_like(x)]))
    column = 2 * places[0] - 0.5 + (fine.shape[1] - 1) / 2
    row = 2 * places[1] - 0.5 + (fine.shape[0] - 1) / 2

    def channel(values: Array) -> Array:
        return jax.scipy.ndimage.map_coordinates(values, [row, column], order=1, cval=0.0)

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(fine)


@functools.cache
def _doubling(side: int) -> np.ndarray:
    """Continued by its mirror images and doubled: `[2 (3 side - 2), side]`."""
    long = 3 * side - 2
    # Without repeating the border: ..., 2, 1, 0, 1, 2, ...
    place = np.abs(np.arange(long) - (side - 1))
    place = side - 1 - np.abs(side - 1 - place)
    mirrored = np.eye(side)[place]
    tap = np.arange(2 * long)[:, None] - 2 * np.arange(long)[None, :] + len(SYMLET) // 2 - 1
    return _taps(tap) @ mirrored


@functools.cache
def _halving(side: int) -> np.ndarray:
    """Filtered and halved, without the margin: `[side, 2 side + 4 MARGIN]`."""
    fine = np.arange(2 * side + 4 * MARGIN)[None, :]
    tap = fine - 2 * (np.arange(side)[:, None] + MARGIN) + (len(SYMLET) - 1) // 2
    return _taps(tap)


def _taps(index: np.ndarray) -> np.ndarray:
    """The filter's weights at some indices, zero outside."""
    inside = (index >= 0) & (index < len(SYMLET))
    return np.where(inside, np.asarray(SYMLET)[np.clip(index, 0, len(SYMLET) - 1)], 0.0)
