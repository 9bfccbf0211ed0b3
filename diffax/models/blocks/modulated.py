"""The transformer block of DiT, which a vector scales, shifts and gates (adaLN-zero)."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.attention import Attention
from diffax.models.blocks.fusion import written
from diffax.models.blocks.normalization import LayerNorm
from diffax.models.blocks.style import Style
from diffax.models.blocks.transformer import FeedForward


def modulation(
    vector: jax.Array, count: int, features: int, style: Style, name: str = "modulation"
) -> list[jax.Array]:
    """`count` arrays `[B, 1, features]` from a vector `[B, E]`; they begin as zeros.

    To be called inside a module, which the linear map called `name` belongs to.
    """
    init = nn.initializers.zeros
    numbers = style.dense(count * features, name, kernel_init=init)(nn.silu(vector))
    return jnp.split(numbers[:, None, :], count, axis=-1)


def modulated(x: jax.Array, shift: jax.Array, scale: jax.Array, style: Style) -> jax.Array:
    """Tokens `[B, N, C]` normalized, then scaled by 1 + `scale` and shifted, both `[B, 1, C]`.

    To be called inside a module; the norm has no parameters.
    """
    norm = LayerNorm(epsilon=1e-6, use_scale=False, use_bias=False, dtype=style.dtypes["dtype"])
    return norm(x) * (1 + scale) + shift


class ModulatedBlock(nn.Module):
    """Self-attention and a feed-forward, each scaled, shifted and gated by a vector.

    DiT's block with adaLN-zero (Peebles & Xie 2023, section 3.2): as the gates begin at zero, the
    block begins as the identity. Where there is a context, a cross-attention lies between the two,
    neither normalized nor modulated (PixArt-alpha, Chen et al. 2024, section 2.3).

    Attributes:
        style: see `Style`.
        heads: number of heads.
        causal: token i sees tokens 0 ... i only.
        rotary: places turn queries and keys, see `embeddings.rotated`.
    """

    style: Style
    heads: int
    causal: bool = False
    rotary: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, vector: jax.Array, context: jax.Array | None = None
    ) -> jax.Array:
        """Tokens `[B, N, C]`, vector `[B, E]` and context `[B, M, K]` to `[B, N, C]`."""
        style = self.style
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation(
            vector, 6, x.shape[-1], style
        )
        h = modulated(x, shift, scale, style)
        attention = Attention(
            style, self.heads, causal=self.causal, rotary=self.rotary, name="attn"
        )
        x = written(x + gate * attention(h))
        if context is not None:
            zero = dataclasses.replace(style, out_init=nn.initializers.zeros)
            x = written(x + Attention(zero, self.heads, name="cross_attn")(x, context))
        h = modulated(x, shift_mlp, scale_mlp, style)
        return written(x + gate_mlp * FeedForward(style, gated=False, exact=False, name="mlp")(h))
