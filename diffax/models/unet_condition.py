"""The text-conditional U-Net of Stable Diffusion 1, 2 and XL, `UNet2DConditionModel`."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields, unet_encoder
from diffax.models.blocks.attention import Prompted
from diffax.models.blocks.levels import UpBlock
from diffax.models.condition import Condition, checked
from diffax.models.unet_encoder import ConditionalEncoder, per_block, resampling

# The values that the network knows, by field.
CHOICES = {
    **unet_encoder.CHOICES,
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
}


class UNet2DConditionModel(ConditionalEncoder):
    """U-Net with cross-attention to a text (Rombach et al. 2022; XL: Podell et al. 2023).

    The attributes are the fields of a checkpoint's `config.json`, with those of
    `ConditionalEncoder`.

    Attributes:
        sample_size: side of the latents it was trained on, or (height, width); a default.
        out_channels: channels of the answer.
        center_input_sample: latents come in [0, 1] and are moved to [-1, 1] first.
        up_block_types: a name for each level on the way up.
        mid_block_only_cross_attention: the same of the middle; None: as only_cross_attention.
        dropout: probability in the residual blocks, in [0, 1], while training.
        reverse_transformer_layers_per_block: the same on the way up; None: as on the way down.
        time_embedding_dim: width of the time embedding; None: 4 block_out_channels[0].
        image_prompt: it looks at an image's tokens, too (IP-Adapter); ours.
        time_cond_proj_dim: width of the guidance embedding of distilled models; None: none.
        conv_in_kernel: side of the first convolution: 1, 3, 5 or 7.
        conv_out_kernel: side of the last convolution: 1, 3, 5 or 7.

    Example:
        >>> model = UNet2DConditionModel(block_out_channels=(32, 64), cross_attention_dim=16,
        ...     down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        ...     up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2)
        >>> x, t, text = jnp.zeros((1, 16, 16, 4)), jnp.zeros(1), jnp.zeros((1, 77, 16))
        >>> params = model.init(jax.random.key(0), x, t, {"context": text})
        >>> model.apply(params, x, t, {"context": text}).shape
        (1, 16, 16, 4)
    """

    sample_size: int | tuple[int, int] | None = None
    out_channels: int = 4
    center_input_sample: bool = False
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    mid_block_only_cross_attention: bool | None = None
    dropout: float = 0.0
    reverse_transformer_layers_per_block: Any = None
    time_embedding_dim: int | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3
    image_prompt: bool = False

    def __post_init__(self) -> None:
        fields.same_length(self, "block_out_channels", "down_block_types", "up_block_types")
        fields.whole(self, "out_channels")
        fields.whole(self, "time_embedding_dim", "time_cond_proj_dim", optional=True)
        fields.whole(self, "sample_size", high=fields.MOST_ROWS, optional=True)
        fields.whole(
            self, "reverse_transformer_layers_per_block", high=fields.MOST_LAYERS, optional=True
        )
        fields.number(self, "dropout", low=0, high=1)
        fields.one_of(
            self,
            up_block_types=CHOICES["up_block_types"],
            conv_in_kernel=(1, 3, 5, 7),
            conv_out_kernel=(1, 3, 5, 7),
        )
        if isinstance(self.sample_size, tuple) and len(self.sample_size) != 2:
            raise ValueError(
                f"UNet2DConditionModel.sample_size: expected a side or (height, width), got "
                f"{self.sample_size}"
            )
        super().__post_init__()
        down = self._each("transformer_layers_per_block", len(self.block_out_channels))
        self._check_transformers(down=down, up=self._up_depths())

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        guided = ("guidance",) if self.time_cond_proj_dim is not None else ()
        return (*self._needed(), *guided, "channels", *self._feature_names())

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: Condition,
        *,
        down_residuals: tuple[jax.Array, ...] | None = None,
        mid_residual: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Evaluates the network.

        Args:
            x: latents `[B, H, W, C]`.
            t: `[B]`, in the schedule's steps (0..T-1).
            condition: arrays, of which the model's configuration asks for some:
                "context" `[B, L, cross_attention_dim]`, the text encoder's states (always);
                "channels" `[B, H, W, in_channels - C]`, appended to x (inpainting models);
                "pooled" `[B, K]` and "size_ids" `[B, 6]`, the pooled text and the original size,
                crop and target size (XL);
                "label" `[B]` int, or `[B, K]` for class embeddings that are projections;
                "guidance" `[B, time_cond_proj_dim]`, of distilled models, see
                `diffax.models.blocks.embeddings.guidance_embedding`; without it they are told
                nothing of guidance;
                "image_prompt" `[B, T, cross_attention_dim]` and "image_scale" `[B]`, tokens of an
                image and how much they count (IP-Adapter);
                "features_0" `[B, h, w, C]`, ..., added to each level's output, and one more to
                the middle's (T2I-Adapter).
            down_residuals: added to the skips, input convolution first (ControlNet).
            mid_residual: added to the middle block's output (ControlNet).
            train: whether dropout is active (rng "dropout").

        Returns:
            `[B, H, W, out_channels]`, float32.

        Raises:
            ValueError: a condition that is missing, or that the network does not read.
        """
        condition = checked(self, condition, x.shape[0], self._needed())
        style = self._style(self.dropout)
        channels = self.block_out_channels
        count = len(channels)
        temb = self._time_embedding(
            t, condition, style, self.time_embedding_dim, self.time_cond_proj_dim
        )
        context = condition["context"].astype(self.dtype)
        if self.image_prompt:
            image = condition["image_prompt"].astype(self.dtype)
            context = Prompted(context, image, condition["image_scale"])
        if "channels" in condition:
            x = jnp.concatenate([x, condition["channels"].astype(x.dtype)], axis=-1)
        if x.shape[-1] != self.in_channels:
            raise ValueError(
                f"expected {self.in_channels} input channels, got {x.shape[-1]}: "
                'an inpainting model takes its mask and masked latents in condition["channels"]'
            )
        if self.center_input_sample:
            x = 2 * x - 1

        x = style.conv(channels[0], "conv_in", size=self.conv_in_kernel)(x)
        features = [condition[n] for n in self._feature_names() if n in condition]
        x, skips = self._down(x, temb, context, style, train, features)
        if down_residuals is not None:
            skips = [a + b.astype(a.dtype) for a, b in zip(skips, down_residuals, strict=True)]

        only = self.mid_block_only_cross_attention
        only = only if only is not None else self.only_cross_attention is True
        x = self._middle(x, temb, context, style, train, only)
        if len(features) > count:
            x = x + features[count].astype(x.dtype)
        if mid_residual is not None:
            x = x + mid_residual.astype(x.dtype)

        layers, depths = per_block(self.layers_per_block, count), self._up_depths()
        for i, kind in enumerate(self.up_block_types):
            level = count - 1 - i
            mine, skips = skips[-layers[level] - 1 :], skips[: -layers[level] - 1]
            x = UpBlock(
                style,
                channels[level],
                self._attentions(kind, level, layers[level] + 1, depths[i]),
                resample=resampling(kind, i, count),
                name=f"up_blocks_{i}",
            )(x, mine, temb, context, train, _size(skips[-1]) if skips else None)
        x = nn.silu(style.norm("conv_norm_out")(x))
        out = style.conv(self.out_channels, "conv_out", size=self.conv_out_kernel)(x)
        return out.astype(jnp.float32)

    def _needed(self) -> tuple[str, ...]:
        """Names of what it must be told."""
        names = tuple(name for name, asked in self.embeds.items() if asked)
        return (*names, "image_prompt", "image_scale") if self.image_prompt else names

    def _feature_names(self) -> tuple[str, ...]:
        """One for each level and one for the middle."""
        return tuple(f"features_{i}" for i in range(len(self.block_out_channels) + 1))

    def _up_depths(self) -> tuple:
        """Transformer blocks of each level on the way up, lowest level first."""
        count = len(self.block_out_channels)
        if self.reverse_transformer_layers_per_block is not None:
            return self._each("reverse_transformer_layers_per_block", count)
        return self._each("transformer_layers_per_block", count)[::-1]


def _size(x: jax.Array) -> tuple[int, int]:
    """Height and width of `[B, H, W, C]`."""
    _, height, width, _ = x.shape
    return height, width
