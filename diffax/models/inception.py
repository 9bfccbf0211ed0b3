"""The Inception network that the FID is defined by (Szegedy et al. 2015; Heusel et al. 2017).

It is Inception-v3 as TensorFlow published it on 2015-12-05, which differs from later versions: 1008
classes; average pooling does not count the border's zeros; the last block pools by maximum. Names
follow the PyTorch file that everybody converts it to.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.bilinear import GRIDS, resize_bilinear
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.normalization import BatchNorm
from diffax.models.features import Features

SIZE = 299
CLASSES = 1008

# A convolution: name, channels, rows, columns.
_Layer = tuple[str, int, int, int]


class _Unit(nn.Module):
    """Convolution, batch normalization, ReLU."""

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        conv = Conv(self.channels, self.kernel, strides, self.padding, use_bias=False, name="conv")
        return nn.relu(BatchNorm(epsilon=1e-3, name="bn")(conv(x)))


def _chain(x: jax.Array, *layers: _Layer) -> jax.Array:
    """Convolutions one after the other; called inside a module."""
    for name, channels, rows, columns in layers:
        x = _Unit(channels, (rows, columns), name=name)(x)
    return x


def _halved(x: jax.Array, name: str, channels: int) -> jax.Array:
    return _Unit(channels, (3, 3), 2, "VALID", name=name)(x)


def _average(x: jax.Array) -> jax.Array:
    """Mean over 3 x 3 pixels; at the border over those that there are."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _largest(x: jax.Array, stride: int, padding: str) -> jax.Array:
    return nn.max_pool(x, (3, 3), (stride, stride), padding)


def _joined(*branches: jax.Array) -> jax.Array:
    return jnp.concatenate(branches, axis=-1)


class _Mixed35(nn.Module):
    """Blocks 5b to 5d, at 35 x 35."""

    pool_channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _joined(
            _chain(x, ("branch1x1", 64, 1, 1)),
            _chain(x, ("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 5)),
            _chain(
                x,
                ("branch3x3dbl_1", 64, 1, 1),
                ("branch3x3dbl_2", 96, 3, 3),
                ("branch3x3dbl_3", 96, 3, 3),
            ),
            _chain(_average(x), ("branch_pool", self.pool_channels, 1, 1)),
        )


class _To17(nn.Module):
    """Block 6a, from 35 x 35 to 17 x 17."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        double = _chain(x, ("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3))
        return _joined(
            _halved(x, "branch3x3", 384),
            _halved(double, "branch3x3dbl_3", 96),
            _largest(x, 2, "VALID"),
        )


class _Mixed17(nn.Module):
    """Blocks 6b to 6e, at 17 x 17, with kernels of one row or one column."""

    inner: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n = self.inner
        return _joined(
            _chain(x, ("branch1x1", 192, 1, 1)),
            _chain(
                x, ("branch7x7_1", n, 1, 1), ("branch7x7_2", n, 1, 7), ("branch7x7_3", 192, 7, 1)
            ),
            _chain(
                x,
                ("branch7x7dbl_1", n, 1, 1),
                ("branch7x7dbl_2", n, 7, 1),
                ("branch7x7dbl_3", n, 1, 7),
                ("branch7x7dbl_4", n, 7, 1),
                ("branch7x7dbl_5", 192, 1, 7),
            ),
            _chain(_average(x), ("branch_pool", 192, 1, 1)),
        )


class _To8(nn.Module):
    """Block 7a, from 17 x 17 to 8 x 8."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        crossed = _chain(
            x,
            ("branch7x7x3_1", 192, 1, 1),
            ("branch7x7x3_2", 192, 1, 7),
            ("branch7x7x3_3", 192, 7, 1),
        )
        return _joined(
            _halved(_chain(x, ("branch3x3_1", 192, 1, 1)), "branch3x3_2", 320),
            _halved(crossed, "branch7x7x3_4", 192),
            _largest(x, 2, "VALID"),
        )


class _Mixed8(nn.Module):
    """Blocks 7b and 7c, at 8 x 8; the second pools by maximum."""

    by_maximum: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        single = _chain(x, ("branch3x3_1", 384, 1, 1))
        double = _chain(x, ("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 3))
        pooled = _largest(x, 1, "SAME") if self.by_maximum else _average(x)
        return _joined(
            _chain(x, ("branch1x1", 320, 1, 1)),
            _chain(single, ("branch3x3_2a", 384, 1, 3)),
            _chain(single, ("branch3x3_2b", 384, 3, 1)),
            _chain(double, ("branch3x3dbl_3a", 384, 1, 3)),
            _chain(double, ("branch3x3dbl_3b", 384, 3, 1)),
            _chain(pooled, ("branch_pool", 192, 1, 1)),
        )


class FIDInception(nn.Module):
    """Inception-v3 of 2015-12-05: 2048 pooled features and 1008 logits of images of any size.

    Attributes:
        grid: how images are brought to 299 x 299, and to numbers about zero: "tensorflow" as the
            published graph does it, (x - 128) / 128 (also torch-fidelity and the OpenAI evaluator),
            or "pytorch" as pytorch-fid does it, x / 127.5 - 1.
        biased: whether the logits have the last layer's bias; the Inception Score has always been
            computed without.

    Example:
        >>> images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
        >>> network = FIDInception()
        >>> shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), images)[0]
        >>> shapes.pooled.shape, shapes.logits.shape
        ((1, 2048), (1, 1008))
    """

    grid: str = "tensorflow"
    biased: bool = False

    def __post_init__(self) -> None:
        fields.one_of(self, grid=GRIDS)
        super().__post_init__()

    def __call__(self, images: jax.Array) -> Features:
        """The features of images.

        Args:
            images: uint8 `[B, H, W, C]`, C = 3, or 1 for grey ones.

        Returns:
            `Features` with pooled `[B, 2048]` and logits `[B, 1008]`.
        """
        return self.trunk(prepared(images, self.grid))

    @nn.compact
    def trunk(self, x: jax.Array) -> Features:
        """The features of `prepared` images `[B, 299, 299, 3]`."""
        x = _halved(x, "Conv2d_1a_3x3", 32)
        x = _Unit(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = _Unit(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = _largest(x, 2, "VALID")
        x = _Unit(80, (1, 1), name="Conv2d_3b_1x1")(x)
        x = _Unit(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
        x = _largest(x, 2, "VALID")
        for letter, pool_channels in zip("bcd", (32, 64, 64), strict=True):
            x = _Mixed35(pool_channels, name=f"Mixed_5{letter}")(x)
        x = _To17(name="Mixed_6a")(x)
        for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
            x = _Mixed17(inner, name=f"Mixed_6{letter}")(x)
        x = _To8(name="Mixed_7a")(x)
        x = _Mixed8(by_maximum=False, name="Mixed_7b")(x)
        x = _Mixed8(by_maximum=True, name="Mixed_7c")(x)
        pooled = x.mean(axis=(1, 2))
        kernel, bias = _Head(name="fc")(pooled.shape[-1])
        return Features(pooled, pooled @ kernel + (bias[None] if self.biased else 0))


class _Head(nn.Module):
    """The last layer's parameters."""

    @nn.compact
    def __call__(self, width: int) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (width, CLASSES), jnp.float32)
        return kernel, self.param("bias", nn.initializers.zeros, (CLASSES,), jnp.float32)


def prepared(images: jax.Array, grid: str = "tensorflow") -> jax.Array:
    """Images as the network takes them: 299 x 299, three channels, about -1 to 1.

    Args:
        images: uint8 `[B, H, W, C]`, C = 3 or 1.
        grid: see `FIDInception`.

    Returns:
        float32 `[B, 299, 299, 3]`.

    Raises:
        ValueError: another number of channels.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"expected images [B, H, W, C] with C = 1 or 3, got {images.shape}")
    x = resize_bilinear(images.astype(jnp.float32), SIZE, SIZE, grid=grid)
    x = (x - 128) / 128 if grid == "tensorflow" else x / 127.5 - 1
    return jnp.broadcast_to(x, (*x.shape[:3], 3))
