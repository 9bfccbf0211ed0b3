"""The U-Net of denoising diffusion (Ho et al. 2020; Nichol & Dhariwal 2021)."""

from collections.abc import Callable
from typing import Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.attention import AttentionBlock, TransformerBlock
from diffax.models.convolution import Conv
from diffax.models.embeddings import sinusoidal_embedding
from diffax.models.normalization import GroupNorm
from diffax.models.resampling import average_pool, max_pool, upsample_bilinear, upsample_nearest

# DDPM's initialisers. A branch that adds to something starts out as good as nothing: "near zero"
# and not zero as in the paper's code.
_INIT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
_NEAR_ZERO = nn.initializers.variance_scaling(1e-10, "fan_avg", "uniform")

_ATTENTION = {"ddpm": (AttentionBlock, 1), "tutorial": (TransformerBlock, 4)}
_POOL = {"average": average_pool, "max": max_pool}
_UPSAMPLE = {"nearest": upsample_nearest, "bilinear": upsample_bilinear}


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with the time embedding in between, added to their input.

    Attributes:
      features: output channels; a 1 x 1 shortcut is learned where the input has others.
      dropout: probability of dropping an activation before the second convolution.
      scale_shift_norm: the embedding scales and shifts the second norm's output (iDDPM) instead
        of being added before it (DDPM).
      dtype: of the computation.
    """

    features: int
    dropout: float = 0.0
    scale_shift_norm: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        """Map `[B, H, W, C]` and an embedding `[B, E]` to `[B, H, W, features]`."""
        h = nn.silu(GroupNorm(dtype=self.dtype, name="norm_1")(x))
        h = Conv(self.features, dtype=self.dtype, kernel_init=_INIT, name="conv_1")(h)

        size = 2 * self.features if self.scale_shift_norm else self.features
        embedding = nn.Dense(size, dtype=self.dtype, kernel_init=_INIT, name="embedding")(
            nn.silu(embedding)
        )[:, None, None, :]
        norm_2 = GroupNorm(dtype=self.dtype, name="norm_2")
        if self.scale_shift_norm:
            scale, shift = jnp.split(embedding, 2, axis=-1)
            h = norm_2(h) * (1 + scale) + shift
        else:
            h = norm_2(h + embedding)

        h = nn.Dropout(self.dropout)(nn.silu(h), deterministic=not train)
        h = Conv(self.features, dtype=self.dtype, kernel_init=_NEAR_ZERO, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, kernel_init=_INIT, name="shortcut")(x)
        return x + h


class UNet(nn.Module):
    """A network from a noisy image, its time and perhaps a label to an image of the same size.

    The defaults are DDPM's for CIFAR-10: 35,746,307 parameters. Every field is plain data.

    Attributes:
      channels: width of the first level.
      multipliers: each level's width over `channels`; every level but the last halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attention_resolutions: a level whose height or width is listed attends after each of its
        residual blocks. The middle always attends.
      num_heads: attention heads; None is 1 for "ddpm" attention and 4 for "tutorial".
      head_size: channels a head; replaces `num_heads` where given.
      dropout: probability in the residual blocks, while training.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label; None for a
        model without labels.
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
      remat: recompute each residual block's activations in the backward pass: less memory, about
        a third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, time embedding, norms,
        softmax and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import UNet
      >>> model = UNet(channels=32, multipliers=(1, 2), attention_resolutions=(4,), num_classes=10)
      >>> x, t, label = jnp.zeros((2, 8, 8, 1)), jnp.array([0.0, 999.0]), jnp.array([3, 10])
      >>> params = model.init(jax.random.key(0), x, t, label)
      >>> model.apply(params, x, t, label).shape
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
    out_channels: int | None = None
    learned_variance: bool = False
    downsample: Literal["conv", "max", "average"] = "conv"
    upsample: Literal["nearest", "bilinear"] = "nearest"
    attention: Literal["ddpm", "tutorial"] = "ddpm"
    scale_shift_norm: bool = False
    time_scale: float = 1.0
    flip_sin_to_cos: bool = False
    freq_shift: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        condition: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Apply the network.

        Args:
          x: `[B, H, W, C]`, H and W divisible by 2 ** (levels - 1).
          t: `[B]`, times.
          condition: labels `[B]`, integers; None is the null label for every image.
          train: with dropout (random stream "dropout").

        Returns:
          `[B, H, W, out_channels]`, float32.

        Raises:
          ValueError: a size that cannot be halved often enough, labels for a model without
            classes, or a field with an unknown value.
        """
        self._check(x, condition)
        batch, height, width, in_channels = x.shape
        chex.assert_shape(t, (batch,))
        out_channels = self.out_channels or in_channels
        if self.learned_variance:
            out_channels *= 2

        embedding = self._embed(t, condition)
        block, attend = self._blocks(embedding, train)

        h = self._conv(self.channels, "conv_in")(x)
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            for i in range(self.num_res_blocks):
                h = block(h, multiplier * self.channels, f"down_{level}_{i}")
                if self._attends(h):
                    h = attend(h, f"down_{level}_{i}_attention")
                skips.append(h)
            if level < len(self.multipliers) - 1:
                h = self._halve(h, f"down_{level}_conv")
                skips.append(h)

        h = block(h, h.shape[-1], "middle_0")
        h = attend(h, "middle_attention")
        h = block(h, h.shape[-1], "middle_1")

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for i in range(self.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, multiplier * self.channels, f"up_{level}_{i}")
                if self._attends(h):
                    h = attend(h, f"up_{level}_{i}_attention")
            if level > 0:
                h = _UPSAMPLE[self.upsample](h)
                h = self._conv(h.shape[-1], f"up_{level}_conv")(h)
        assert not skips

        h = nn.silu(GroupNorm(name="norm_out")(h))
        out = Conv(out_channels, kernel_init=_NEAR_ZERO, name="conv_out")(h)
        chex.assert_shape(out, (batch, height, width, out_channels))
        return out

    @property
    def _dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)

    def _check(self, x: jax.Array, condition: jax.Array | None) -> None:
        for field, known in (
            ("downsample", ("conv", *_POOL)),
            ("upsample", tuple(_UPSAMPLE)),
            ("attention", tuple(_ATTENTION)),
            ("dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"UNet.{field}: expected one of {', '.join(known)}; got {getattr(self, field)}"
                )
        if x.ndim != 4:
            raise ValueError(f"UNet: expected images [B, H, W, C], got shape {x.shape}")
        factor = 2 ** (len(self.multipliers) - 1)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(
                f"UNet: expected height and width divisible by {factor}, for "
                f"{len(self.multipliers)} levels halve them {len(self.multipliers) - 1} times; "
                f"got {x.shape[1]}x{x.shape[2]}; resize or pad the images, or give `multipliers` "
                "fewer entries"
            )
        if condition is not None and self.num_classes is None:
            raise ValueError(
                "UNet: expected no condition, for num_classes is None; got one; set num_classes "
                "or pass condition=None"
            )

    def _embed(self, t: jax.Array, condition: jax.Array | None) -> jax.Array:
        """Time and label as one float32 vector `[B, 4 * channels]`."""
        size = 4 * self.channels
        embedding = sinusoidal_embedding(
            t * self.time_scale,
            self.channels,
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
        )
        embedding = nn.silu(nn.Dense(size, kernel_init=_INIT, name="time_1")(embedding))
        embedding = nn.Dense(size, kernel_init=_INIT, name="time_2")(embedding)
        if self.num_classes is not None:
            if condition is None:
                condition = jnp.full(t.shape, self.num_classes, jnp.int32)
            chex.assert_shape(condition, t.shape)
            table = nn.Embed(
                self.num_classes + 1,
                size,
                embedding_init=nn.initializers.normal(1.0),
                name="label",
            )
            embedding = embedding + table(condition)
        return embedding

    def _blocks(
        self, embedding: jax.Array, train: bool
    ) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
        """The two building blocks with everything that is the same at all levels filled in."""
        residual = nn.remat(ResidualBlock, static_argnums=(3,)) if self.remat else ResidualBlock
        attention, default_heads = _ATTENTION[self.attention]

        def block(h: jax.Array, features: int, name: str) -> jax.Array:
            module = residual(features, self.dropout, self.scale_shift_norm, self._dtype, name=name)
            return module(h, embedding, train)

        def attend(h: jax.Array, name: str) -> jax.Array:
            heads = self.num_heads or default_heads
            if self.head_size is not None:
                if h.shape[-1] % self.head_size:
                    raise ValueError(
                        f"UNet: expected every attending level's width to be divisible by head_size"
                        f" {self.head_size}, got {h.shape[-1]}; change head_size or channels"
                    )
                heads = h.shape[-1] // self.head_size
            return attention(heads, self._dtype, _INIT, _NEAR_ZERO, name=name)(h)

        return block, attend

    def _attends(self, h: jax.Array) -> bool:
        return bool({h.shape[1], h.shape[2]} & set(self.attention_resolutions))

    def _conv(self, features: int, name: str, stride: int = 1) -> Conv:
        return Conv(
            features, strides=(stride, stride), dtype=self._dtype, kernel_init=_INIT, name=name
        )

    def _halve(self, h: jax.Array, name: str) -> jax.Array:
        if self.downsample == "conv":
            return self._conv(h.shape[-1], name, stride=2)(h)
        return _POOL[self.downsample](h)
