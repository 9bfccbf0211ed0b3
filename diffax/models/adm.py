"""ADM, the U-Net of guided diffusion, and iDDPM's (Dhariwal & Nichol 2021, both papers)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.embeddings import (
    TimestepEmbedding,
    class_embedding,
    sinusoidal_embedding,
)
from diffax.models.blocks.levels import (
    AttentionSpec,
    DownBlock,
    MidBlock,
    SelfSpec,
    UpBlock,
    attends,
)
from diffax.models.blocks.normalization import GroupNorm, group_count
from diffax.models.blocks.style import Style
from diffax.models.condition import (
    NOTHING,
    Condition,
    augment_labels,
    check_images,
    checked,
    labels,
)

# Uniform within 1 / sqrt(fan_in), as the originals; biases, too, see `adm_style`.
INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
ZERO = nn.initializers.zeros
EPS = 1e-5


class ADM(nn.Module):
    """The ablated diffusion model, its images halved and doubled by residual blocks.

    The defaults are those for ImageNet at 64 x 64; with `num_classes=1000` and
    `learned_variance=True` it has 295,904,454 parameters, and EDM's, without learned variances,
    295,899,267. `ADM(channels=128, multipliers=(1, 2, 2, 2), attention_resolutions=(16, 8),
    num_heads=4, resample="conv", learned_variance=True)` is iDDPM's for CIFAR-10: 52,546,438.

    Attributes:
      channels: width of the time embedding's waves, and the unit of all widths.
      multipliers: each level's width over `channels`; every level but the last halves the image.
        For ImageNet (1, 1, 2, 3, 4) at 128, (1, 1, 2, 2, 4, 4) at 256 and (0.5, 1, 1, 2, 2, 4, 4)
        at 512 pixels.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attention_resolutions: a level whose height or width is listed attends after each of its
        residual blocks. The middle always attends.
      num_heads: attention heads of every level; None for heads of `head_size` channels.
      head_size: channels a head, where `num_heads` is None.
      dropout: probability in the residual blocks, while training.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label, which adds
        nothing; None for a network without classes.
      augment_size: length of the vector "augment" that says how an image was changed, zeros where
        it was not (Karras et al. 2022, appendix F.2): 9 in EDM; None for a network without.
      out_channels: channels of the output; None for as many as the input has.
      learned_variance: twice the output channels, the second half to be read as a variance.
      resample: "residual" (ADM, after BigGAN) or "conv" (iDDPM) halves and doubles the image.
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000: 1000 for times
        in [0, 1], 1000 / T for T steps.
      remat: recompute the activations of each residual and attention block in the backward pass:
        less memory, about a third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, embeddings, norms, softmax
        and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import ADM
      >>> model = ADM(16, multipliers=(1, 2), num_res_blocks=1, num_heads=2, num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 8, 3)), jnp.array([0.0, 999.0])
      >>> condition = {"label": jnp.array([3, 10])}
      >>> init = model.init_with_output  # its shapes alone: nothing is computed
      >>> out, params = jax.eval_shape(init, jax.random.key(0), x, t, condition)
      >>> out.shape
      (2, 8, 8, 3)
    """

    channels: int = 192
    multipliers: tuple[float, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 3
    attention_resolutions: tuple[int, ...] = (32, 16, 8)
    num_heads: int | None = None
    head_size: int = 64
    dropout: float = 0.0
    num_classes: int | None = None
    augment_size: int | None = None
    out_channels: int | None = None
    learned_variance: bool = False
    resample: Literal["residual", "conv"] = "residual"
    time_scale: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.number(self, "multipliers", low=0, high=fields.WIDEST)
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "attention_resolutions", "head_size")
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "num_heads", "augment_size", "out_channels", optional=True)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "time_scale")
        fields.one_of(self, resample=("residual", "conv"), dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {"label": self.num_classes, "augment": self.augment_size}
        return tuple(name for name, size in told.items() if size is not None)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(int(multiplier * self.channels) for multiplier in self.multipliers)

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
        style = adm_style(self)
        embedding = self._embed(t, condition, style)
        specs = level_attentions(self, x)
        resample = {"residual": "resnet", "conv": "conv"}[self.resample]

        h, skips = descend(self, style, specs, resample, x, embedding, train)
        layers = self.num_res_blocks + 1
        levels = zip(reversed(self.widths), reversed(specs[:-1]), strict=True)
        for i, (width, spec) in enumerate(levels):
            own, skips = skips[-layers:], skips[:-layers]
            kind = resample if i < last else None
            h = UpBlock(style, width, (spec,) * layers, kind, name=f"up_blocks_{i}")(
                h, own, embedding, None, train
            )

        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)
        h = nn.silu(GroupNorm(epsilon=EPS, name="conv_norm_out")(h))
        return Conv(out_channels, kernel_init=ZERO, name="conv_out")(h)

    def _embed(self, t: jax.Array, condition: Condition, style: Style) -> jax.Array:
        """Time, label and augmentation as one float32 vector `[B, 4 * channels]`."""
        style, size = dataclasses.replace(style, dtype="float32"), 4 * self.channels
        waves = sinusoidal_embedding(
            t * self.time_scale, self.channels, flip_sin_to_cos=True, freq_shift=0
        )
        if self.augment_size is not None:
            told = augment_labels(self, condition, t.shape[0])
            name = "augment_embedding"
            waves += style.dense(self.channels, name, use_bias=False, kernel_init=ZERO)(told)
        embedding = TimestepEmbedding(style, size, name="time_embedding")(waves)
        if self.num_classes is not None:
            label = labels(condition, t.shape[0], self.num_classes)
            embedding = embedding + class_embedding(label, style, self.num_classes, size)
        return embedding


# What follows is shared with the classifier of noisy images.


def adm_style(network: Any) -> Style:
    """How the blocks of ADM are made, with the network's dropout, remat and dtype."""
    return Style(
        eps=EPS,
        dropout=network.dropout,
        scale_shift=True,
        remat=network.remat,
        dtype=network.dtype,
        kernel_init=INIT,
        out_init=ZERO,
        fan_in_bias=True,
    )


def level_attentions(network: Any, x: jax.Array) -> list[AttentionSpec]:
    """The attention of every level, see `attends`, and of the middle."""
    specs = []
    for i, width in enumerate(network.widths):
        listed = attends(network, f"down_blocks_{i}", (x.shape[1] >> i, x.shape[2] >> i))
        specs.append(_attention(network, width) if listed else None)
    return [*specs, _attention(network, network.widths[-1])]


def _attention(network: Any, width: int) -> SelfSpec:
    if network.num_heads is None and width % network.head_size:
        raise ValueError(
            f"{type(network).__name__}: expected every attending level's width to be divisible by "
            f"head_size {network.head_size}, got {width}; change head_size or channels, or give "
            "num_heads"
        )
    return SelfSpec(network.num_heads or width // network.head_size, group_count(width))


def descend(
    network: Any,
    style: Style,
    specs: Sequence[AttentionSpec],
    resample: str,
    x: jax.Array,
    embedding: jax.Array,
    train: bool,
) -> tuple[jax.Array, list[jax.Array]]:
    """From an image to the middle's output, with every layer's output on the way.

    To be called inside a network, whose `conv_in`, `down_blocks_0` ... and `mid_block` it makes.
    """
    h = style.conv(network.widths[0], "conv_in")(x)
    skips, last = [h], len(network.widths) - 1
    for i, width in enumerate(network.widths):
        attentions = (specs[i],) * network.num_res_blocks
        kind = resample if i < last else None
        block = DownBlock(style, width, attentions, kind, name=f"down_blocks_{i}")
        h, new = block(h, embedding, None, train)
        skips += new
    return MidBlock(style, (specs[-1],), name="mid_block")(h, embedding, None, train), skips
