"""The autoencoders of the published latent-diffusion models: KL and vector-quantized."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.initializers import uniform_within
from diffax.models.blocks.levels import DownBlock, MidBlock, SelfSpec, UpBlock
from diffax.models.blocks.style import Style

# The values that both networks know, by field.
CHOICES = {
    "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
}


class DiagonalGaussian(NamedTuple):
    """The posterior over latents, all `[B, h, w, C]` float32; log-variance within [-30, 20]."""

    mean: jax.Array
    log_variance: jax.Array

    def sample(self, noise: jax.Array) -> jax.Array:
        """`mean + std * noise`, with `noise` standard normal of the mean's shape."""
        return self.mean + jnp.exp(0.5 * self.log_variance) * noise


class _Encoder(nn.Module):
    style: Style
    channels: tuple[int, ...]
    kinds: tuple[str, ...]
    layers: int
    out_channels: int
    mid_attention: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.style.conv(self.channels[0], "conv_in")(x)
        last = len(self.channels) - 1
        for i, (kind, features) in enumerate(zip(self.kinds, self.channels, strict=True)):
            spec = SelfSpec(1, self.style.groups) if kind.startswith("Attn") else None
            x, _ = DownBlock(
                self.style,
                features,
                (spec,) * self.layers,
                resample="conv" if i < last else None,
                padding=0,
                name=f"down_blocks_{i}",
            )(x)
        spec = SelfSpec(1, self.style.groups) if self.mid_attention else None
        x = MidBlock(self.style, (spec,), name="mid_block")(x)
        x = nn.silu(self.style.norm("conv_norm_out")(x))
        return self.style.conv(self.out_channels, "conv_out")(x)


class _Decoder(nn.Module):
    style: Style
    channels: tuple[int, ...]
    kinds: tuple[str, ...]
    layers: int
    out_channels: int
    mid_attention: bool

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        z = self.style.conv(self.channels[-1], "conv_in")(z)
        spec = SelfSpec(1, self.style.groups) if self.mid_attention else None
        z = MidBlock(self.style, (spec,), name="mid_block")(z)
        last = len(self.channels) - 1
        for i, (kind, features) in enumerate(zip(self.kinds, reversed(self.channels), strict=True)):
            spec = SelfSpec(1, self.style.groups) if kind.startswith("Attn") else None
            z = UpBlock(
                self.style,
                features,
                (spec,) * (self.layers + 1),
                resample="conv" if i < last else None,
                name=f"up_blocks_{i}",
            )(z)
        z = nn.silu(self.style.norm("conv_norm_out")(z))
        return self.style.conv(self.out_channels, "conv_out")(z).astype(jnp.float32)


class AutoencoderKL(nn.Module):
    """KL-regularized autoencoder (Rombach et al. 2022, section 3.1).

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours (see
    `diffax.models.blocks.style.Style`). Latents are the posterior's own; a diffusion model
    sees them through `scale` and `unscale`.

    Attributes:
        in_channels: channels of the images.
        out_channels: channels of what is decoded.
        down_block_types: a name for each level on the way down; Attn attends to itself.
        up_block_types: a name for each level on the way up.
        block_out_channels: channels of each level; each but the last halves the sides.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        latent_channels: channels of the latents.
        norm_num_groups: groups of each GroupNorm.
        sample_size: side of the images it was trained on; a default.
        scaling_factor: latents are multiplied by it for a diffusion model.
        shift_factor: subtracted from latents before they are scaled; None: nothing.
        force_upcast: half precision overflows (XL): then give dtype "float32", as the pipelines
            do.
        use_quant_conv: a 1 x 1 convolution after the encoder.
        use_post_quant_conv: a 1 x 1 convolution before the decoder.
        mid_block_add_attention: the middle attends to itself.
        query_chunk: attention takes so many queries at a time; None: by memory.
        remat: recompute each block's activations in the backward pass, to save memory.
        dtype: of the computation: "float32", "bfloat16" or "float16".
        param_dtype: of the parameters, likewise.

    Example:
        >>> model = AutoencoderKL(block_out_channels=(32, 64), down_block_types=2 * (
        ...     "DownEncoderBlock2D",), up_block_types=2 * ("UpDecoderBlock2D",))
        >>> x = jnp.zeros((1, 16, 16, 3))
        >>> params = model.init(jax.random.key(0), x)
        >>> z = model.apply(params, x, method="encode").mean
        >>> model.apply(params, z, method="decode").shape
        (1, 16, 16, 3)
    """

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    force_upcast: bool = False
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    query_chunk: int | None = None
    remat: bool = False
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        _check(self)
        fields.number(self, "shift_factor", optional=True)
        super().__post_init__()

    def setup(self) -> None:
        """Builds encoder and decoder."""
        style = _style(self)
        shared = dict(
            style=style,
            channels=tuple(self.block_out_channels),
            layers=self.layers_per_block,
            mid_attention=self.mid_block_add_attention,
        )
        self.encoder = _Encoder(
            kinds=tuple(self.down_block_types), out_channels=2 * self.latent_channels, **shared
        )
        self.decoder = _Decoder(
            kinds=tuple(self.up_block_types), out_channels=self.out_channels, **shared
        )
        if self.use_quant_conv:
            self.quant_conv = Conv(2 * self.latent_channels, (1, 1), **style.dtypes)
        if self.use_post_quant_conv:
            self.post_quant_conv = Conv(self.latent_channels, (1, 1), **style.dtypes)

    @property
    def factor(self) -> int:
        """Pixels a latent, on each axis."""
        return 2 ** (len(self.block_out_channels) - 1)

    def encode(self, x: jax.Array) -> DiagonalGaussian:
        """The posterior of images `[B, H, W, 3]` in [-1, 1]."""
        moments = self.encoder(x)
        if self.use_quant_conv:
            moments = self.quant_conv(moments)
        mean, log_variance = jnp.split(moments.astype(jnp.float32), 2, axis=-1)
        return DiagonalGaussian(mean, jnp.clip(log_variance, -30.0, 20.0))

    def decode(self, z: jax.Array) -> jax.Array:
        """Images `[B, H, W, 3]`, about [-1, 1], of latents `[B, h, w, C]`."""
        if self.use_post_quant_conv:
            z = self.post_quant_conv(z)
        return self.decoder(z)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The reconstruction from the posterior's mean; `init` through it makes all parameters."""
        return self.decode(self.encode(x).mean)

    def scale(self, z: jax.Array) -> jax.Array:
        """Latents as the diffusion model sees them (about unit variance)."""
        return (z - (self.shift_factor or 0.0)) * self.scaling_factor

    def unscale(self, z: jax.Array) -> jax.Array:
        """The inverse of `scale`."""
        return z / self.scaling_factor + (self.shift_factor or 0.0)


class VQModel(nn.Module):
    """Vector-quantized autoencoder (Esser et al. 2021) of latent diffusion's VQ models.

    The attributes are the fields of a checkpoint's `config.json`; the last four are ours.

    Attributes:
        in_channels: channels of the images.
        out_channels: channels of what is decoded.
        down_block_types: a name for each level on the way down; Attn attends to itself.
        up_block_types: a name for each level on the way up.
        block_out_channels: channels of each level; each but the last halves the sides.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        latent_channels: channels of the latents.
        norm_num_groups: groups of each GroupNorm.
        num_vq_embeddings: codes in the book.
        vq_embed_dim: size of a code; None: latent_channels.
        sample_size: side of the images it was trained on; a default.
        scaling_factor: latents are multiplied by it for a diffusion model.
        force_upcast: half precision overflows: compute in float32.
        mid_block_add_attention: the middle attends to itself.
        query_chunk: attention takes so many queries at a time; None: by memory.
        remat: recompute each block's activations in the backward pass, to save memory.
        dtype: of the computation: "float32", "bfloat16" or "float16".
        param_dtype: of the parameters, likewise.

    Example:
        >>> model = VQModel(norm_num_groups=8, block_out_channels=(16,))
        >>> x = jnp.zeros((1, 8, 8, 3))
        >>> params = model.init(jax.random.key(0), x)
        >>> model.apply(params, x).shape
        (1, 8, 8, 3)
    """

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    latent_channels: int = 3
    sample_size: int = 32
    num_vq_embeddings: int = 256
    norm_num_groups: int = 32
    vq_embed_dim: int | None = None
    scaling_factor: float = 0.18215
    mid_block_add_attention: bool = True
    force_upcast: bool = False
    query_chunk: int | None = None
    remat: bool = False
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        _check(self)
        fields.whole(self, "num_vq_embeddings", high=fields.MOST_ROWS)
        fields.whole(self, "vq_embed_dim", optional=True)
        super().__post_init__()

    def setup(self) -> None:
        """Builds encoder, codebook and decoder."""
        style = _style(self)
        shared = dict(
            style=style,
            channels=tuple(self.block_out_channels),
            layers=self.layers_per_block,
            mid_attention=self.mid_block_add_attention,
        )
        self.encoder = _Encoder(
            kinds=tuple(self.down_block_types), out_channels=self.latent_channels, **shared
        )
        self.decoder = _Decoder(
            kinds=tuple(self.up_block_types), out_channels=self.out_channels, **shared
        )
        code = self.vq_embed_dim or self.latent_channels
        self.quant_conv = Conv(code, (1, 1), **style.dtypes)
        self.post_quant_conv = Conv(self.latent_channels, (1, 1), **style.dtypes)
        self.quantize = Codebook(style, self.num_vq_embeddings, code)

    @property
    def factor(self) -> int:
        """Pixels a latent, on each axis."""
        return 2 ** (len(self.block_out_channels) - 1)

    def encode(self, x: jax.Array) -> jax.Array:
        """Latents `[B, h, w, C]`, before quantization, of images `[B, H, W, 3]` in [-1, 1]."""
        return self.quant_conv(self.encoder(x)).astype(jnp.float32)

    def decode(self, z: jax.Array, quantize: bool = True) -> jax.Array:
        """Images `[B, H, W, 3]` of latents, which are first moved to the nearest codes."""
        if quantize:
            z = self.quantize(z)
        return self.decoder(self.post_quant_conv(z))

    def __call__(self, x: jax.Array) -> jax.Array:
        """The reconstruction."""
        return self.decode(self.encode(x))

    def scale(self, z: jax.Array) -> jax.Array:
        """Latents as the diffusion model sees them."""
        return z * self.scaling_factor

    def unscale(self, z: jax.Array) -> jax.Array:
        """The inverse of `scale`."""
        return z / self.scaling_factor


class Codebook(nn.Module):
    """Nearest code of each latent; the gradient passes straight through (van den Oord 2017).

    Attributes:
        style: see `Style`.
        codes: number of codes.
        features: C, length of a code.
    """

    style: Style
    codes: int
    features: int

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """`[B, h, w, C]` to the nearest codes, the same shape, float32."""
        init = uniform_within(1 / self.codes)
        table = self.style.embed(self.codes, self.features, "embedding", init)
        book = table.embedding.astype(jnp.float32)
        z = z.astype(jnp.float32)
        distance = jnp.sum(book**2, axis=-1)[None, :] - 2 * z.reshape(-1, self.features) @ book.T
        nearest = book[jnp.argmin(distance, axis=-1)].reshape(z.shape)
        return z + jax.lax.stop_gradient(nearest - z)


def _check(model: nn.Module) -> None:
    """The fields that both networks have."""
    fields.same_length(model, "block_out_channels", "down_block_types", "up_block_types")
    fields.whole(model, "in_channels", "out_channels", "block_out_channels", "latent_channels")
    fields.whole(model, "norm_num_groups")
    fields.whole(model, "layers_per_block", high=fields.MOST_LAYERS)
    fields.whole(model, "sample_size", high=fields.MOST_ROWS)
    fields.whole(model, "query_chunk", high=fields.MOST_ROWS, optional=True)
    fields.number(model, "scaling_factor")
    fields.one_of(model, **CHOICES, dtype=fields.DTYPES, param_dtype=fields.DTYPES)


def _style(model: nn.Module) -> Style:
    return Style(
        groups=model.norm_num_groups,
        eps=1e-6,
        query_chunk=model.query_chunk,
        remat=model.remat,
        dtype=model.dtype,
        param_dtype=model.param_dtype,
    )
