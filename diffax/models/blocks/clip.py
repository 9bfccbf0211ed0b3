"""The transformer of CLIP's encoders of texts and images (Radford et al. 2021)."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax

from diffax.models.blocks.attention import Attention
from diffax.models.blocks.fusion import written
from diffax.models.blocks.style import Style

ACTIVATIONS = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": lambda x: nn.gelu(x, approximate=False),
}

# The names of the attention's maps in the published files.
MAPS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclasses.dataclass(frozen=True)
class Shape:
    """What all layers share.

    Attributes:
        style: see `Style`.
        width: of the states.
        heads: of every attention.
        intermediate: width of the feed-forward layers.
        activation: one of `ACTIVATIONS`.
        causal: a token sees earlier tokens only, as in texts.
    """

    style: Style
    width: int
    heads: int
    intermediate: int
    activation: str
    causal: bool = True


class _MLP(nn.Module):
    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.shape.style.dense(self.shape.intermediate, "fc1")(x)
        return self.shape.style.dense(x.shape[-1], "fc2")(ACTIVATIONS[self.shape.activation](h))


class _Layer(nn.Module):
    shape: Shape

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        style = self.shape.style

        def norm(name: str) -> nn.Module:
            return style.layer_norm(name, style.eps)

        attention = Attention(
            style, self.shape.heads, causal=self.shape.causal, names=MAPS, name="self_attn"
        )
        x = written(x + attention(norm("layer_norm1")(x)))
        return written(x + _MLP(self.shape, name="mlp")(norm("layer_norm2")(x)))


class Encoder(nn.Module):
    """Layers of attention and feed-forward, each after a norm and residual.

    Attributes:
        shape: see `Shape`.
        layers: how many.
    """

    shape: Shape
    layers: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """The states `[B, L, C]` before the first layer and after every one."""
        hidden = [x]
        for i in range(self.layers):
            hidden.append(_Layer(self.shape, name=f"layers_{i}")(hidden[-1]))
        return tuple(hidden)
