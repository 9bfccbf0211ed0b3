"""T2I-Adapter (Mou et al. 2023): a small network whose features are added to a U-Net's encoder."""

from __future__ import annotations

import flax.linen as nn
import jax

from diffax.models import fields
from diffax.models.blocks.style import Style

CHOICES = {"adapter_type": ("full_adapter", "full_adapter_xl", "light_adapter")}


class T2IAdapter(nn.Module):
    """From an image to features for each level of a U-Net (Mou et al. 2023, section 3.3).

    The attributes are the fields of a checkpoint's `config.json`, and the dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> adapter = T2IAdapter(channels=(8, 16), num_res_blocks=1, downscale_factor=4)
        >>> image = jnp.zeros((1, 16, 16, 3))
        >>> params = adapter.init(jax.random.key(0), image)
        >>> [f.shape for f in adapter.apply(params, image)]
        [(1, 4, 4, 8), (1, 2, 2, 16)]
    """

    in_channels: int = 3
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    num_res_blocks: int = 2
    downscale_factor: int = 8
    adapter_type: str = "full_adapter"
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "in_channels", "channels", "downscale_factor")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.one_of(self, **CHOICES, dtype=fields.DTYPES, param_dtype=fields.DTYPES)
        super().__post_init__()

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Features `[B, h, w, C]`, finest first, of an image `[B, H, W, in_channels]` in [0, 1].

        Raises:
            ValueError: sides that are no multiples of `downscale_factor`.
        """
        style = Style(dtype=self.dtype, param_dtype=self.param_dtype)
        return _Body(self, style, name="adapter")(image.astype(self.dtype))


class _Body(nn.Module):
    settings: T2IAdapter
    style: Style

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
        own = self.settings
        x = _unshuffled(image, own.downscale_factor)
        light = own.adapter_type == "light_adapter"
        widths = (*own.channels, own.channels[-1]) if light else own.channels
        if not light:
            x = self.style.conv(widths[0], "conv_in")(x)
        features = []
        for i, width in enumerate(widths):
            # XL's encoder halves once only.
            halve = i == 2 if own.adapter_type == "full_adapter_xl" else i > 0
            block = _Block(self.style, width, own.num_res_blocks, halve, light, name=f"body_{i}")
            x = block(x)
            features.append(x)
        return tuple(features)


class _Block(nn.Module):
    """Perhaps a halving, a change of width, then residual layers; light ones work on a quarter."""

    style: Style
    features: int
    layers: int
    halve: bool
    light: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        style, width = self.style, self.features // 4 if self.light else self.features
        if self.halve:
            # An odd side's last pixels are the mean of what is there.
            x = nn.avg_pool(x, (2, 2), (2, 2), "SAME", count_include_pad=False)
        if self.light or x.shape[-1] != width:
            x = style.conv(width, "in_conv", size=1)(x)
        for i in range(self.layers):
            x = _Layer(style, 3 if self.light else 1, name=f"resnets_{i}")(x)
        return style.conv(self.features, "out_conv", size=1)(x) if self.light else x


class _Layer(nn.Module):
    style: Style
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = nn.relu(self.style.conv(x.shape[-1], "block1")(x))
        return x + self.style.conv(x.shape[-1], "block2", size=self.size)(h)


def _unshuffled(image: jax.Array, factor: int) -> jax.Array:
    """Every square of `factor` x `factor` pixels as channels: `[B, H/f, W/f, C f f]`."""
    batch, height, width, channels = image.shape
    if height % factor or width % factor:
        raise ValueError(
            f"expected an image whose sides are multiples of {factor}, got {height}x{width}: "
            "resize it"
        )
    squares = image.reshape(batch, height // factor, factor, width // factor, factor, channels)
    squares = squares.transpose(0, 1, 3, 5, 2, 4)
    return squares.reshape(batch, height // factor, width // factor, channels * factor**2)
