"""A U-Net over time, for waveforms and other sequences of numbers."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.embeddings import TimestepEmbedding, sinusoidal_embedding
from diffax.models.blocks.levels import DownBlock, MidBlock, SelfSpec, UpBlock
from diffax.models.blocks.normalization import group_count
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, checked, labels
from diffax.models.sequence import check_sequences, folded, heard_beside, unfolded

_NEAR_ZERO = nn.initializers.variance_scaling(1e-10, "fan_avg", "uniform")


class UNet1D(nn.Module):
    """Residual blocks on levels of halved length, attention on the shortest.

    The first map hears `patch` samples at once, so that the levels are short and the attention in
    the middle joins all of a sequence.

    Attributes:
        channels: of the first level.
        multipliers: channels of each level, as multiples of it; all but the last are halved.
        num_res_blocks: blocks of a level on the way down; one more on the way up.
        num_heads: of the attention on the last level; 0: no attention.
        patch: samples that make one position of the first level.
        dropout: in the residual blocks, while training; 0 to 1.
        num_classes: labels; None: none are read, or as many as the data have.
        frame_size: numbers of a frame of a local condition, such as a spectrogram's bands; None:
            none is read, or what the conditioner gives.
        out_channels: None: as many as the data have.
        learned_variance: answer a variance, too: twice the channels.
        time_scale: times are multiplied by this before their sinusoids are taken.
        dtype: of the maps.

    Example:
        >>> model = UNet1D(channels=8, multipliers=(1, 2), patch=4)
        >>> x, t = jnp.zeros((2, 64, 1)), jnp.zeros(2)
        >>> answer, params = jax.eval_shape(model.init_with_output, jax.random.key(0), x, t)
        >>> answer.shape
        (2, 64, 1)
    """

    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    num_res_blocks: int = 1
    num_heads: int = 4
    patch: int = 16
    dropout: float = 0.0
    num_classes: int | None = None
    frame_size: int | None = None
    out_channels: int | None = None
    learned_variance: bool = False
    time_scale: float = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.whole(self, "multipliers")
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "num_heads", low=0)
        fields.whole(self, "patch", high=4096)
        fields.number(self, "dropout", low=0, high=1)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "frame_size", "out_channels", optional=True)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        told = {"label": self.num_classes, "frames": self.frame_size}
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
            x: `[B, L, C]`, L a multiple of `patch` 2 ** (levels - 1).
            t: `[B]`, times.
            condition: "label" int `[B]` (without it, the null label), "frames" `[B, F,
                frame_size]`, F frames that cover the sequence evenly.
            train: with dropout (random stream "dropout").

        Returns:
            `[B, L, out_channels]`, float32.

        Raises:
            ValueError: a length that cannot be halved often enough, or a condition that the network
                does not read, or lacks.
        """
        halvings = len(self.multipliers) - 1
        check_sequences(self, x, t, self.patch * 2**halvings)
        needed = ("frames",) if self.frame_size is not None else ()
        condition = checked(self, condition, x.shape[0], needed)
        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)
        style = Style(dropout=self.dropout, axes=1, dtype=self.dtype, out_init=_NEAR_ZERO)
        embedding = self._embed(t, condition)

        x = folded(x, self.patch).astype(style.dtype)
        if self.frame_size is not None:
            beside = heard_beside(self, condition, x.shape[2])
            x = jnp.concatenate([x, beside.astype(x.dtype)], axis=-1)
        h = style.conv(self.channels, "conv_in")(x)
        widths = [multiplier * self.channels for multiplier in self.multipliers]
        skips = [h]
        for i, width in enumerate(widths):
            last = i == halvings
            h, new = DownBlock(
                style,
                width,
                (self._attention(width) if last else None,) * self.num_res_blocks,
                resample=None if last else "conv",
                padding=1,
                name=f"down_blocks_{i}",
            )(h, embedding, None, train)
            skips += new

        middle = MidBlock(style, (self._attention(widths[-1]),), name="mid_block")
        h = middle(h, embedding, None, train)

        layers = self.num_res_blocks + 1
        for i, width in enumerate(reversed(widths)):
            own, skips = skips[-layers:], skips[:-layers]
            h = UpBlock(
                style,
                width,
                (self._attention(width) if i == 0 else None,) * layers,
                resample="conv" if i < halvings else None,
                name=f"up_blocks_{i}",
            )(h, own, embedding, None, train)

        h = nn.silu(style.norm("conv_norm_out")(h)).astype(jnp.float32)
        last = Style(axes=1).conv(out_channels * self.patch, "conv_out", kernel_init=_NEAR_ZERO)
        return unfolded(last(h), self.patch)

    def _embed(self, t: jax.Array, condition: Condition) -> jax.Array:
        """Time and label as one float32 vector `[B, 4 * channels]`."""
        style, size = Style(), 4 * self.channels
        waves = sinusoidal_embedding(t * self.time_scale, self.channels)
        embedding = TimestepEmbedding(style, size, name="time_embedding")(waves)
        if self.num_classes is not None:
            table = style.embed(self.num_classes + 1, size, "class_embedding")
            embedding = embedding + table(labels(condition, t.shape[0], self.num_classes))
        return embedding

    def _attention(self, width: int) -> SelfSpec | None:
        return SelfSpec(self.num_heads, group_count(width)) if self.num_heads else None
