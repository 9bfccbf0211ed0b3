"""The U-Net of denoising diffusion (Ho et al. 2020; Nichol & Dhariwal 2021)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    pixel_waves,
    sinusoidal_embedding,
)
from diffax.models.blocks.levels import (
    AttentionSpec,
    CrossSpec,
    DownBlock,
    MidBlock,
    SelfSpec,
    TutorialSpec,
    UpBlock,
    attends,
)
from diffax.models.blocks.normalization import GroupNorm, group_count
from diffax.models.blocks.resampling import fold, unfold
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, check_images, checked, labels, sized

# DDPM's initialisers. A branch that adds to something starts out as good as nothing: "near zero"
# and not zero as in the paper's code.
_INIT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
_NEAR_ZERO = nn.initializers.variance_scaling(1e-10, "fan_avg", "uniform")


class UNet(nn.Module):
    """A network from a noisy image, its time and what it is told to an image of the same size.

    The defaults are DDPM's for CIFAR-10: 35,746,307 parameters. Every field is plain data. The
    parameters have the published names (`down_blocks_0`, `resnets_0`, ...): with DDPM's fields
    they are those of `UNet2DModel`.

    Attributes:
      channels: width of the first level.
      multipliers: each level's width over `channels`; every level but the last halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attention_resolutions: a level whose height or width is listed attends after each of its
        residual blocks. The middle always attends.
      num_heads: attention heads; None is 1 for "ddpm" attention and 4 for "tutorial", which has
        several.
      head_size: channels a head, instead of `num_heads`.
      dropout: probability in the residual blocks, while training.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        network without classes.
      context_size: K of the tokens `[B, L, K]`, such as a text encoder's, that every attending
        level looks at, by the spatial transformer of latent diffusion (Rombach et al. 2022) in
        place of plain self-attention; None for a network without a context.
      embedding_size: E of a vector `[B, E]`, such as a whole text's or an image's embedding, that
        is projected and added to the time embedding; None for a network without one.
      extra_channels: of an image `[B, H, W, K]` that is put beside x, such as a smaller version
        of it made larger; None for a network without one.
      corrects: the answer is added to the first of the extra channels: what is learned is the
        difference. For a network that is asked for x0.
      patch: squares of so many pixels on a side are folded into channels on the way in and unfolded
        on the way out (Hoogeboom et al. 2023, section 2.3): large images at the cost of small ones.
      out_channels: channels of the output; None for as many as the input has.
      learned_variance: twice the output channels, the second half to be read as a variance.
      downsample: "conv" (stride 2), "max" or "average" pooling.
      upsample: "nearest" or "bilinear", then a convolution.
      attention: "ddpm" (GroupNorm, 1 x 1 projections) or "tutorial" (LayerNorm, feed-forward).
      scale_shift_norm: the embedding scales and shifts (iDDPM) instead of being added (DDPM).
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000: 1000 for times
        in [0, 1], 1000 / T for T steps.
      flip_sin_to_cos: cosines first in the time embedding: False in DDPM, True in iDDPM.
      freq_shift: as in `sinusoidal_embedding`: 1 in DDPM, 0 in iDDPM.
      waves: the powers n of sin(2^n pi x) and cos(2^n pi x) that the first convolution sees beside
        x: 7 and 8 in variational diffusion (Kingma et al. 2021, appendix C), which tells the last
        bits of a pixel apart; none by default.
      remat: recompute the activations of each residual and attention block in the backward pass:
        less memory, about a third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, time embedding, norms,
        softmax and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import UNet
      >>> model = UNet(channels=32, multipliers=(1, 2), attention_resolutions=(4,), num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 8, 1)), jnp.array([0.0, 999.0])
      >>> condition = {"label": jnp.array([3, 10])}
      >>> params = model.init(jax.random.key(0), x, t, condition)
      >>> model.apply(params, x, t, condition).shape
      (2, 8, 8, 1)
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    num_heads: int | None = None
    head_size: int | None = None
    dropout: float = 0.0
    num_classes: int | None = None
    context_size: int | None = None
    embedding_size: int | None = None
    extra_channels: int | None = None
    corrects: bool = False
    patch: int = 1
    out_channels: int | None = None
    learned_variance: bool = False
    downsample: Literal["conv", "max", "average"] = "conv"
    upsample: Literal["nearest", "bilinear"] = "nearest"
    attention: Literal["ddpm", "tutorial"] = "ddpm"
    scale_shift_norm: bool = False
    time_scale: float = 1.0
    flip_sin_to_cos: bool = False
    freq_shift: float = 1.0
    waves: tuple[int, ...] = ()
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.whole(self, "multipliers", "num_heads", "head_size", "out_channels", optional=True)
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "attention_resolutions", "waves")
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "context_size", "embedding_size", "extra_channels", optional=True)
        fields.whole(self, "patch", high=64)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "time_scale", "freq_shift")
        fields.one_of(
            self,
            downsample=("conv", "average", "max"),
            upsample=("nearest", "bilinear"),
            attention=("ddpm", "tutorial"),
            dtype=("float32", "bfloat16"),
        )
        if self.num_heads is not None and self.head_size is not None:
            raise ValueError(
                f"UNet: expected num_heads or head_size, got both, {self.num_heads} and "
                f"{self.head_size}; set one of them to None"
            )
        if self.attention == "tutorial" and self.num_heads == 1:
            raise ValueError(
                "UNet.num_heads: expected several where attention is tutorial, got 1; set it to "
                "None for the tutorials' 4"
            )
        if self.context_size is not None and self.attention != "ddpm":
            raise ValueError(
                f'UNet.attention: expected "ddpm" where context_size is given, got '
                f"{self.attention!r}; the tutorials' block looks at no context"
            )
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {
            "label": self.num_classes,
            "context": self.context_size,
            "embedding": self.embedding_size,
            "channels": self.extra_channels,
        }
        return tuple(name for name, size in told.items() if size is not None)

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition = NOTHING,
        *,
        down_residuals: tuple[jax.Array, ...] | None = None,
        mid_residual: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, H, W, C]`, H and W divisible by 2 ** (levels - 1).
          t: `[B]`, times.
          condition: what the fields ask for: "label" int `[B]` (without it, the null label for
            every image), "context" `[B, L, context_size]`, "embedding" `[B, embedding_size]`.
          down_residuals: added to the skips, input convolution first (ControlNet).
          mid_residual: added to the middle block's output (ControlNet).
          train: with dropout (random stream "dropout").

        Returns:
          `[B, H, W, out_channels]`, float32.

        Raises:
          ValueError: a size that cannot be halved often enough, or a condition with names that
            the network does not read, or without one that it needs.
        """
        self._check(x, t, condition)
        style = self._style()
        embedding = self._embed(t, condition, style)
        context = self._context(condition, style)
        h, skips = self._encode(x, embedding, context, condition, train)
        if down_residuals is not None:
            skips = [a + b.astype(a.dtype) for a, b in zip(skips, down_residuals, strict=True)]
        if mid_residual is not None:
            h = h + mid_residual.astype(h.dtype)

        layers, widths = self.num_res_blocks + 1, self._widths
        doubling = {"nearest": "conv", "bilinear": "bilinear"}[self.upsample]
        for i, width in enumerate(reversed(widths)):
            own, skips = skips[-layers:], skips[:-layers]
            h = UpBlock(
                style,
                width,
                (self._attention(f"up_blocks_{i}", h, width),) * layers,
                resample=doubling if i < len(widths) - 1 else None,
                name=f"up_blocks_{i}",
            )(h, own, embedding, context, train)

        h = nn.silu(GroupNorm(name="conv_norm_out")(h))
        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)
        h = Conv(out_channels * self.patch**2, kernel_init=_NEAR_ZERO, name="conv_out")(h)
        answer = unfold(h, self.patch)
        if self.corrects and self.extra_channels is not None:
            answer = answer + condition["channels"][..., :out_channels]
        return answer

    def _check(self, x: jax.Array, t: jax.Array, condition: Condition) -> None:
        halvings = len(self.multipliers) - 1
        check_images(
            self, x, t, 2**halvings * self.patch, f"for `multipliers` halves them {halvings} times"
        )
        checked(self, condition, x.shape[0], tuple(name for name in self.reads if name != "label"))

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(multiplier * self.channels for multiplier in self.multipliers)

    def _context(self, condition: Condition, style: Style) -> jax.Array | None:
        if self.context_size is None:
            return None
        return sized(self, condition, "context", 3, self.context_size).astype(style.dtype)

    def _encode(
        self,
        x: jax.Array,
        embedding: jax.Array,
        context: jax.Array | None,
        condition: Condition,
        train: bool,
        hint: jax.Array | None = None,
    ) -> tuple[jax.Array, list[jax.Array]]:
        """The way down and the middle: the output, and the skips with the first convolution's.

        `hint`, of a ControlNet, is added to the first convolution's output.
        """
        style, widths = self._style(), self._widths
        if self.extra_channels is not None:
            beside = sized(self, condition, "channels", 4, self.extra_channels)
            x = jnp.concatenate([x, beside.astype(x.dtype)], axis=-1)
        x = fold(x, self.patch)
        h = style.conv(self.channels, "conv_in")(pixel_waves(x, self.waves))
        if hint is not None:
            h = h + hint.astype(h.dtype)
        skips = [h]
        for i, width in enumerate(widths):
            h, new = DownBlock(
                style,
                width,
                (self._attention(f"down_blocks_{i}", h, width),) * self.num_res_blocks,
                resample=self.downsample if i < len(widths) - 1 else None,
                padding=0,
                name=f"down_blocks_{i}",
            )(h, embedding, context, train)
            skips += new
        middle = MidBlock(style, (self._attention_of(widths[-1]),), name="mid_block")
        return middle(h, embedding, context, train), skips

    def _style(self) -> Style:
        return Style(
            dropout=self.dropout,
            scale_shift=self.scale_shift_norm,
            remat=self.remat,
            dtype=self.dtype,
            kernel_init=_INIT,
            out_init=_NEAR_ZERO,
        )

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time, label and embedding as one float32 vector `[B, 4 * channels]`."""
        style, size = dataclasses.replace(style, dtype="float32"), 4 * self.channels
        waves = sinusoidal_embedding(
            t * self.time_scale,
            self.channels,
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
        )
        embedding = TimestepEmbedding(style, size, name="time_embedding")(waves)
        if self.num_classes is not None:
            table = style.embed(self.num_classes + 1, size, "class_embedding")
            embedding = embedding + table(labels(condition, t.shape[0], self.num_classes))
        if self.embedding_size is not None:
            told = sized(self, condition, "embedding", 2, self.embedding_size)
            embedding = embedding + TimestepEmbedding(style, size, name="add_embedding")(told)
        return embedding

    def _attention(self, block: str, h: jax.Array, width: int) -> AttentionSpec:
        """The attention of a level's block, see `attends`."""
        listed = attends(self, block, (h.shape[1], h.shape[2]))
        return self._attention_of(width) if listed else None

    def _attention_of(self, width: int) -> AttentionSpec:
        heads = self.num_heads or {"ddpm": 1, "tutorial": 4}[self.attention]
        if self.head_size is not None:
            if width % self.head_size:
                raise ValueError(
                    f"UNet: expected every attending level's width to be divisible by head_size "
                    f"{self.head_size}, got {width}; change head_size or channels"
                )
            heads = width // self.head_size
        if self.context_size is not None:
            return CrossSpec(heads)
        if self.attention == "tutorial":
            return TutorialSpec(heads)
        return SelfSpec(heads, group_count(width))
