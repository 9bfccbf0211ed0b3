"""The U-Net of the class-conditional DDPM tutorials, to the letter."""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import class_embedding, sinusoidal_embedding
from diffax.models.blocks.resampling import max_pool, upsample_aligned
from diffax.models.blocks.style import Style
from diffax.models.blocks.transformer import TutorialBlock
from diffax.models.condition import NOTHING, Condition, check_images, checked, labels

# PyTorch's own initialisers.
_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# As one matrix of three times the width.
_QKV = nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")


class TutorialUNet(nn.Module):
    """The tutorials' conditional DDPM U-Net: double convolutions, and attention after each stage.

    As in the widely copied `Diffusion-Models-pytorch`: without classes 23,332,739 parameters, with
    ten of them 23,335,299. Time and label reach every stage as one vector without layers of its
    own, through SiLU and a linear map, added after the stage's convolutions.

    Attributes:
      channels: width of the first stage: 64 in the tutorial.
      time_size: length of the vector of time and label.
      num_heads: attention heads.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label, which adds
        nothing; None for the unconditional network.
      out_channels: channels of the output; None for as many as the input has.
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000.
      dtype: "float32" or "bfloat16", of the computation. Parameters, embeddings, norms, softmax
        and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import TutorialUNet
      >>> model = TutorialUNet(channels=8, time_size=16, num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 16, 3)), jnp.array([0.0, 999.0])
      >>> condition = {"label": jnp.array([3, 10])}
      >>> init = model.init_with_output  # its shapes alone: nothing is computed
      >>> out, params = jax.eval_shape(init, jax.random.key(0), x, t, condition)
      >>> out.shape
      (2, 8, 16, 3)
    """

    channels: int = 64
    time_size: int = 256
    num_heads: int = 4
    num_classes: int | None = None
    out_channels: int | None = None
    time_scale: float = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", "num_heads")
        fields.whole(self, "time_size", low=4)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "out_channels", optional=True)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return () if self.num_classes is None else ("label",)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, H, W, C]`, H and W divisible by 8; 64 x 64 in the tutorial.
          t: `[B]`, times.
          condition: "label" int `[B]`, where the network has classes; without it, the null label.
          train: makes no difference.

        Returns:
          `[B, H, W, out_channels]`, float32.

        Raises:
          ValueError: a size that cannot be halved three times, or a condition with names that the
            network does not read.
        """
        check_images(self, x, t, 8, "for three stages halve them")
        condition = checked(self, condition, x.shape[0])
        style = Style(
            groups=1,
            eps=1e-5,
            dtype=self.dtype,
            kernel_init=_INIT,
            out_init=_INIT,
            qkv_init=_QKV,
            fan_in_bias=True,
        )
        vector = self._embed(t, condition, style)

        def stage(h: jax.Array, features: int, middle: int, name: str) -> jax.Array:
            h = _DoubleConv(style, h.shape[-1], residual=True, name=f"{name}_conv_0")(h)
            h = _DoubleConv(style, features, middle, name=f"{name}_conv_1")(h)
            told = style.dense(features, f"{name}_time")(nn.silu(vector))
            h = h + told[:, None, None, :]
            return TutorialBlock(style, self.num_heads, name=f"{name}_attention")(h)

        c = self.channels
        h = _DoubleConv(style, c, name="conv_in")(x)
        skips = []
        for i, features in enumerate((2 * c, 4 * c, 4 * c)):
            skips.append(h)
            h = stage(max_pool(h), features, features, f"down_{i}")
        for i, features in enumerate((8 * c, 8 * c, 4 * c)):
            h = _DoubleConv(style, features, name=f"middle_{i}")(h)
        for i, features in enumerate((2 * c, c, c)):
            h = jnp.concatenate([skips.pop(), upsample_aligned(h)], axis=-1)
            h = stage(h, features, h.shape[-1] // 2, f"up_{i}")
        exact = dataclasses.replace(style, dtype="float32")
        return exact.conv(self.out_channels or x.shape[-1], "conv_out", size=1)(h)

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time and label as one float32 vector `[B, time_size]`."""
        vector = sinusoidal_embedding(t * self.time_scale, self.time_size, freq_shift=0)
        if self.num_classes is None:
            return vector
        label = labels(condition, t.shape[0], self.num_classes)
        style = dataclasses.replace(style, dtype="float32")
        return vector + class_embedding(label, style, self.num_classes, self.time_size)


class _DoubleConv(nn.Module):
    """Convolution, norm over all channels, GELU, convolution, norm; then perhaps a sum and GELU."""

    style: Style
    features: int
    middle: int | None = None
    residual: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        style = self.style
        h = style.conv(self.middle or self.features, "conv1", use_bias=False)(x)
        h = nn.gelu(style.norm("norm1")(h), approximate=False)
        h = style.norm("norm2")(style.conv(self.features, "conv2", use_bias=False)(h))
        return nn.gelu(x + h, approximate=False) if self.residual else h
