"""The transformer block of MMDiT: two streams of tokens, one attention over both."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models.blocks.attention import attend
from diffax.models.blocks.fusion import written
from diffax.models.blocks.modulated import modulated, modulation
from diffax.models.blocks.style import Style
from diffax.models.blocks.transformer import FeedForward


class JointBlock(nn.Module):
    """Patches and text attend to each other and to themselves (Esser et al. 2024, figure 2b).

    Each stream has its own maps, modulation by the vector, and feed-forward; only the attention is
    one. As in `ModulatedBlock` the gates begin at zero, and the block as the identity.

    Attributes:
        style: see `Style`.
        heads: number of heads; the channels must be a multiple of it.
        last: nothing comes after that reads the text: it is attended to and not changed.
    """

    style: Style
    heads: int
    last: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, text: jax.Array, vector: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Patches `[B, N, C]`, text `[B, M, C]` and vector `[B, E]` to patches and text."""
        style, channels = self.style, x.shape[-1]
        numbers = modulation(vector, 6, channels, style)
        of_text = modulation(vector, 2 if self.last else 6, channels, style, "text_modulation")

        def projected(tokens: jax.Array, name: str) -> jax.Array:
            h = style.dense(channels, name, kernel_init=style.qkv_init)(tokens)
            return h.reshape(*h.shape[:-1], self.heads, channels // self.heads)

        seen = modulated(x, numbers[0], numbers[1], style)
        said = modulated(text, of_text[0], of_text[1], style)
        key, value = (
            jnp.concatenate([projected(seen, name), projected(said, f"text_{name}")], axis=1)
            for name in ("to_k", "to_v")
        )
        query = projected(seen, "to_q")
        if not self.last:  # where nobody reads the text, it asks nothing
            query = jnp.concatenate([query, projected(said, "text_to_q")], axis=1)
        gathered = attend(query, key, value, query_chunk=style.query_chunk)
        gathered = gathered.reshape(*gathered.shape[:2], channels)

        def finished(h: jax.Array, told: jax.Array, numbers: list, stream: str) -> jax.Array:
            _, _, gate, shift, scale, gate_mlp = numbers
            out = style.dense(channels, f"{stream}to_out_0", kernel_init=style.out_init)(told)
            h = written(h + gate * out)
            feed_forward = FeedForward(style, gated=False, exact=False, name=f"{stream}mlp")
            return written(h + gate_mlp * feed_forward(modulated(h, shift, scale, style)))

        patches = x.shape[1]
        x = finished(x, gathered[:, :patches], numbers, "")
        if not self.last:
            text = finished(text, gathered[:, patches:], of_text, "text_")
        return x, text
