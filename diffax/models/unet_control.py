"""A ControlNet (Zhang et al. 2023) for the U-Net of denoising diffusion."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.control import (
    HintEmbedding,
    Residuals,
    check_hint,
    zero_convolutions,
)
from diffax.models.condition import Condition
from diffax.models.unet import UNet


class UNetControl(UNet):
    """A copy of a `UNet`'s encoder that is shown an image (Zhang et al. 2023, section 3.1).

    What it has in common with the U-Net has the U-Net's names and shapes; all else is called
    `controlnet_...`, as in the published ControlNets.

    Attributes, besides those of `UNet`:
      conditioning_channels: of the control image.
      conditioning_embedding_out_channels: of the convolutions that read it; every one but the first
        halves a side, so that an image of the data's size meets latents of theirs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = UNetControl(channels=8, multipliers=(1, 2), num_res_blocks=1)
      >>> inputs = model.inputs((4, 4, 1))
      >>> answer, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), *inputs)
      >>> answer.mid.shape, model.count
      ((1, 2, 2, 16), 5)
    """

    conditioning_channels: int = 3
    conditioning_embedding_out_channels: tuple[int, ...] = (16,)

    def __post_init__(self) -> None:
        fields.whole(self, "conditioning_channels", "conditioning_embedding_out_channels")
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return (*super().reads, "control")

    @property
    def count(self) -> int:
        """Residuals in all, the middle's included."""
        levels = len(self.multipliers)
        return levels * self.num_res_blocks + levels + 1

    @property
    def global_pool_conditions(self) -> bool:
        """Whether residuals are averaged over the image: never."""
        return False

    @property
    def factor(self) -> int:
        """Pixels of the control image for each folded pixel of x, on each axis."""
        return 2 ** (len(self.conditioning_embedding_out_channels) - 1)

    def inputs(self, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array, Condition]:
        """Zeros that it can be called with, where x is `[1, *shape]`."""
        size = tuple(side // self.patch * self.factor for side in shape[:2])
        told = {
            "context": (1, self.context_size),
            "embedding": (self.embedding_size,),
            "channels": (*shape[:2], self.extra_channels),
            "control": (*size, self.conditioning_channels),
        }
        condition = {name: jnp.zeros((1, *of)) for name, of in told.items() if name in self.reads}
        return jnp.zeros((1, *shape)), jnp.zeros(1), condition

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, condition: Condition, *, train: bool = False
    ) -> Residuals:
        """What is added to the U-Net's skips and middle.

        Args:
          x: `[B, H, W, C]`.
          t: `[B]`, times.
          condition: what the U-Net is told, and "control" `[B, factor H, factor W,
            conditioning_channels]`, an image in [0, 1].
          train: with dropout (random stream "dropout").

        Raises:
          ValueError: as `UNet`, or a control image of another size.
        """
        self._check(x, t, condition)
        hint, style = condition["control"], self._style()
        size = [side // self.patch * self.factor for side in x.shape[1:3]]
        check_hint(hint, size, self.conditioning_channels)
        widths = self.conditioning_embedding_out_channels
        read = HintEmbedding(style, widths, self.channels, name="controlnet_cond_embedding")
        embedding = self._embed(t, condition, style)
        context = self._context(condition, style)
        seen = read(hint.astype(style.dtype))
        middle, skips = self._encode(x, embedding, context, condition, train, seen)
        return zero_convolutions(style, skips, middle)
