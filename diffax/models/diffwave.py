"""DiffWave: dilated convolutions at full rate (Kong et al. 2021)."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.dilated import DilatedLayer
from diffax.models.blocks.embeddings import TimestepEmbedding, sinusoidal_embedding
from diffax.models.blocks.style import Style
from diffax.models.condition import NOTHING, Condition, checked, labels
from diffax.models.sequence import check_sequences, folded, heard_beside, unfolded


class DiffWave(nn.Module):
    """Gated residual layers whose dilation doubles, `cycle` of them before it begins anew at 1.

    A layer hears its dilation to either side, so that the answer depends on `reach` positions
    before and after. The published base network has 30 layers of 64 channels, a cycle of 10.

    Attributes:
        channels: of every layer.
        layers: how many.
        cycle: layers until the dilation, 1, 2, 4, ..., begins anew.
        patch: samples that make one position; 1 as published.
        num_classes: labels; None: none are read, or as many as the data have.
        frame_size: numbers of a frame of a local condition, such as a spectrogram's bands; None:
            none is read, or what the conditioner gives.
        out_channels: None: as many as the data have.
        learned_variance: answer a variance, too: twice the channels.
        time_scale: times are multiplied by this before their sinusoids are taken.
        dtype: of the maps.

    Example:
        >>> DiffWave(layers=30, cycle=10).reach
        3069
    """

    channels: int = 64
    layers: int = 30
    cycle: int = 10
    patch: int = 1
    num_classes: int | None = None
    frame_size: int | None = None
    out_channels: int | None = None
    learned_variance: bool = False
    time_scale: float = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.whole(self, "layers", high=fields.MOST_LAYERS)
        fields.whole(self, "cycle", high=16)
        fields.whole(self, "patch", high=4096)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "frame_size", "out_channels", optional=True)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer, in positions."""
        return tuple(2 ** (i % self.cycle) for i in range(self.layers))

    @property
    def reach(self) -> int:
        """Positions to either side that an answer depends on."""
        return sum(self.dilations)

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
            x: `[B, L, C]`, L a multiple of `patch`.
            t: `[B]`, times.
            condition: "label" int `[B]` (without it, the null label), "frames" `[B, F,
                frame_size]`, F frames that cover the sequence evenly.
            train: makes no difference.

        Returns:
            `[B, L, out_channels]`, float32.

        Raises:
            ValueError: another length, or a condition that the network does not read, or lacks.
        """
        check_sequences(self, x, t, self.patch)
        needed = ("frames",) if self.frame_size is not None else ()
        condition = checked(self, condition, x.shape[0], needed)
        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)
        style, plain = Style(axes=1, dtype=self.dtype), Style(axes=1)
        size = 4 * self.channels
        waves = sinusoidal_embedding(t * self.time_scale, self.channels)
        embedding = TimestepEmbedding(plain, size, name="time_embedding")(waves)
        if self.num_classes is not None:
            table = plain.embed(self.num_classes + 1, size, "class_embedding")
            embedding = embedding + table(labels(condition, t.shape[0], self.num_classes))

        x = folded(x, self.patch).astype(style.dtype)
        beside = None
        if self.frame_size is not None:
            beside = heard_beside(self, condition, x.shape[2]).astype(x.dtype)
        h = nn.relu(style.dense(self.channels, "conv_in")(x))
        total = jnp.zeros((), jnp.float32)
        for i, dilation in enumerate(self.dilations):
            h, out = DilatedLayer(style, dilation, name=f"layers_{i}")(h, embedding, beside)
            total = total + out.astype(jnp.float32)
        h = nn.relu(plain.dense(self.channels, "skip_out")(total / jnp.sqrt(float(self.layers))))
        zeros = nn.initializers.zeros
        answer = plain.dense(out_channels * self.patch, "conv_out", kernel_init=zeros)(h)
        return unfolded(answer, self.patch)
