"""DDPM++ and NCSN++, the U-Nets of score SDEs and of EDM (Song et al. 2021; Karras et al. 2022)."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Literal

import flax.linen as nn
import jax

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.embeddings import (
    FourierEmbedding,
    TimestepEmbedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.initializers import Initializer
from diffax.models.blocks.levels import (
    AttentionSpec,
    DownBlock,
    MidBlock,
    SelfSpec,
    UpBlock,
    attends,
    residual,
)
from diffax.models.blocks.normalization import GroupNorm, group_count
from diffax.models.blocks.resampling import filter_down, filter_up
from diffax.models.blocks.style import Style
from diffax.models.condition import (
    NOTHING,
    Condition,
    augment_labels,
    check_images,
    checked,
    labels,
)


def _xavier(scale: float = 1.0) -> Initializer:
    """Uniform, times the square root of `scale`."""
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform")


_NEAR_ZERO = _xavier(1e-5**2)
_ROOT_2 = math.sqrt(2)

_NCSNPP: dict[str, Any] = {
    "embedding": "fourier",
    "encoder": "residual",
    "taps": (1, 3, 3, 1),
}


class SongUNet(nn.Module):
    """The U-Net of score SDEs in the form that EDM gave it: residual sums scaled to unit variance.

    The defaults are EDM's DDPM++ for CIFAR-10: 55,732,739 parameters; `SongUNet.ncsnpp()` is its
    NCSN++: 56,395,523 (and 128 frequencies, which are never trained). `multipliers=(1, 2, 2, 2)`
    gives the networks of score SDEs (Song et al. 2021, appendix H) and EDM's for 64 x 64.

    Attributes:
      channels: width of the first convolution.
      multipliers: each level's width over `channels`; every level but the last halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attention_resolutions: a level whose height or width is listed attends, with one head, after
        each of its residual blocks on the way down and once on the way up. The middle always does.
      dropout: probability in the residual blocks, while training: 0.13 in EDM for CIFAR-10.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        network without classes.
      augment_size: length of the vector "augment" that says how an image was changed, zeros where
        it was not (Karras et al. 2022, appendix F.2): 9 in EDM; None for a network without.
      out_channels: channels of the output; None for as many as the input has.
      learned_variance: twice the output channels, the second half to be read as a variance.
      embedding: of the time: "positional" (DDPM++) or "fourier" (NCSN++), at random frequencies.
      encoder: what the input gives to every level on the way down, besides the U-Net's own path:
        nothing ("standard", DDPM++), a 1 x 1 convolution of the shrunken image ("skip"), or a
        residual path of convolutions ("residual", NCSN++).
      decoder: "standard": the last level gives the output; "skip": every level adds its part.
      taps: the resampling filter: (1, 1) in DDPM++, (1, 3, 3, 1) in NCSN++; see `filter_down`.
      time_scale: multiplies t before the embedding. "positional" is made for 0 ... 1000, "fourier"
        for numbers of order one, such as a quarter of log sigma.
      remat: recompute the activations of each residual and attention block in the backward pass:
        less memory, about a third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, embeddings, norms, softmax
        and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import SongUNet
      >>> model = SongUNet.ncsnpp(channels=16, multipliers=(1, 2), num_res_blocks=1, augment_size=9)
      >>> x, t = jnp.zeros((2, 8, 8, 3)), jnp.array([0.1, -1.0])
      >>> condition = {"augment": jnp.zeros((2, 9))}
      >>> init = model.init_with_output  # its shapes alone: nothing is computed
      >>> out, params = jax.eval_shape(init, jax.random.key(0), x, t, condition)
      >>> out.shape
      (2, 8, 8, 3)
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (2, 2, 2)
    num_res_blocks: int = 4
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.0
    num_classes: int | None = None
    augment_size: int | None = None
    out_channels: int | None = None
    learned_variance: bool = False
    embedding: Literal["positional", "fourier"] = "positional"
    encoder: Literal["standard", "skip", "residual"] = "standard"
    decoder: Literal["standard", "skip"] = "standard"
    taps: tuple[int, ...] = (1, 1)
    time_scale: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    @classmethod
    def ncsnpp(cls, **others: Any) -> SongUNet:
        """NCSN++: Fourier embedding, residual path on the way down, filter (1, 3, 3, 1)."""
        return cls(**_NCSNPP | others)

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.whole(self, "multipliers")
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "attention_resolutions")
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "augment_size", "out_channels", optional=True)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "time_scale")
        fields.whole(self, "taps")
        fields.one_of(
            self,
            embedding=("positional", "fourier"),
            encoder=("standard", "skip", "residual"),
            decoder=("standard", "skip"),
            dtype=("float32", "bfloat16"),
        )
        if len(self.taps) not in (2, 4, 6, 8):
            raise ValueError(f"SongUNet.taps: expected 2, 4, 6 or 8 weights, got {self.taps}")
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {"label": self.num_classes, "augment": self.augment_size}
        return tuple(name for name, size in told.items() if size is not None)

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
          x: `[B, H, W, C]`, H and W divisible by 2 ** (levels - 1).
          t: `[B]`, times.
          condition: "label" int `[B]` (without it, the null label for every image), "augment"
            `[B, augment_size]` (without it, zeros), where the fields ask for them.
          train: with dropout (random stream "dropout").

        Returns:
          `[B, H, W, out_channels]`, float32.

        Raises:
          ValueError: a size that cannot be halved often enough, or a condition with names that
            the network does not read.
        """
        last = len(self.multipliers) - 1
        check_images(self, x, t, 2**last, f"for `multipliers` halves them {last} times")
        condition = checked(self, condition, x.shape[0])
        style = self._style()
        embedding = self._embed(t, condition, style)
        widths = [multiplier * self.channels for multiplier in self.multipliers]
        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)

        h = style.conv(self.channels, "conv_in")(x)
        skips, side = [h], x
        for i, width in enumerate(widths):
            h, new = DownBlock(
                style,
                width,
                (self._attention(f"down_blocks_{i}", h, width),) * self.num_res_blocks,
                resample="resnet" if i < last else None,
                rescale=_ROOT_2,
                name=f"down_blocks_{i}",
            )(h, embedding, None, train)
            skips += new
            if i < last and self.encoder != "standard":
                h, side = self._joined(h, side, style, i)
                skips[-1] = h

        middle = (SelfSpec(1, group_count(widths[-1])),)
        h = MidBlock(style, middle, _ROOT_2, name="mid_block")(h, embedding, None, train)

        layers, parts = self.num_res_blocks + 1, []
        for i, width in enumerate(reversed(widths)):
            own, skips = skips[-layers:], skips[:-layers]
            attention = self._attention(f"up_blocks_{i}", h, width)
            attentions = (None,) * self.num_res_blocks + (attention,)
            h = UpBlock(style, width, attentions, rescale=_ROOT_2, name=f"up_blocks_{i}")(
                h, own, embedding, None, train
            )
            if i == last or self.decoder == "skip":
                parts.append(_part(h, out_channels, i))
            if i < last:
                up = residual(style, width, f"upsamplers_{i}", rescale=_ROOT_2, resample="up")
                h = up(h, embedding, train)
        return functools.reduce(lambda out, part: filter_up(out, self.taps) + part, parts)

    def _style(self) -> Style:
        return Style(
            dropout=self.dropout,
            taps=self.taps,
            map_resampled=True,
            remat=self.remat,
            dtype=self.dtype,
            kernel_init=_xavier(),
            out_init=_NEAR_ZERO,
            qkv_init=_xavier(0.2 / 2),  # as one matrix of three times the width
        )

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time, label and augmentation as one float32 vector `[B, 4 * channels]`."""
        style, t = dataclasses.replace(style, dtype="float32"), t * self.time_scale
        if self.embedding == "fourier":
            waves = FourierEmbedding(2 * self.channels, name="frequencies")(t)
        else:
            waves = sinusoidal_embedding(t, self.channels)
        size = waves.shape[-1]
        if self.num_classes is not None:
            # The null label is a row of zeros.
            label = labels(condition, t.shape[0], self.num_classes)
            rows = jax.nn.one_hot(label, self.num_classes) * math.sqrt(self.num_classes)
            waves = waves + style.dense(size, "class_embedding")(rows)
        if self.augment_size is not None:
            told = augment_labels(self, condition, t.shape[0])
            waves = waves + style.dense(size, "augment_embedding", use_bias=False)(told)
        return TimestepEmbedding(style, 4 * self.channels, name="time_embedding")(waves)

    def _attention(self, block: str, h: jax.Array, width: int) -> AttentionSpec:
        """The attention of a level's block, see `attends`."""
        listed = attends(self, block, (h.shape[1], h.shape[2]))
        return SelfSpec(1, group_count(width)) if listed else None

    def _joined(
        self, h: jax.Array, side: jax.Array, style: Style, i: int
    ) -> tuple[jax.Array, jax.Array]:
        """The halved path joined by the input's own, and that path."""
        name, width = f"side_{i}", h.shape[-1]
        if self.encoder == "skip":
            side = filter_down(side, self.taps)
            return h + style.conv(width, name, size=1)(side), side
        # The convolution before the filter, over as much margin as both of them look at.
        margin = len(self.taps) // 2
        pad = (margin, margin)
        wide = style.conv(width, name, padding=(pad, pad))(side)
        h = (h + filter_down(wide, self.taps, padding=0)) / _ROOT_2
        return h, h


def _part(h: jax.Array, channels: int, i: int) -> jax.Array:
    """What a level gives to the output, float32."""
    h = nn.silu(GroupNorm(name=f"norm_out_{i}")(h))
    return Conv(channels, kernel_init=_NEAR_ZERO, name=f"conv_out_{i}")(h)
