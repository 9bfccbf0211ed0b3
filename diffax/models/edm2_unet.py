"""The magnitude-preserving U-Net of EDM2 (Karras et al. 2024)."""

from __future__ import annotations

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.blocks.levels import attends
from diffax.models.blocks.magnitude import MPBlock, MPFourier, MPLinear, mp_join, mp_silu, mp_sum
from diffax.models.condition import NOTHING, Condition, check_images, checked, labels


class EDM2UNet(nn.Module):
    """EDM2's U-Net, configuration G: no biases, no norms with parameters, every weight normalized.

    The sizes XS, S, M, L, XL and XXL for latents of ImageNet 512, `[B, 64, 64, 4]`, have 128, 192,
    256, 320, 384 and 448 `channels` and `num_classes=1000`: XS has 124,713,125 parameters (and 256
    frequencies and phases, which are never trained). Made for `parameterization.EDM`, whose times
    are a quarter of log sigma. A weight's size means nothing: training should keep it from growing,
    `Optimizer(unit_weights="kernel$")`.

    Attributes:
      channels: the unit of all widths.
      multipliers: each level's width over `channels`; every level but the last halves the image.
      num_res_blocks: residual blocks a level on the way down; one more on the way up.
      attention_resolutions: a level whose height or width is listed attends after each of its
        residual blocks. The middle always attends.
      head_size: channels a head.
      dropout: probability in the residual blocks, while training: 0.1 in EDM2 from M on.
      num_classes: labels are 0 ... num_classes - 1, and num_classes is the null label, which adds
        nothing; None for a network without classes.
      out_channels: channels of the output; None for as many as the input has.
      learned_variance: twice the output channels, the second half to be read as a variance.
      time_scale: multiplies t before the embedding, which is made for numbers of order one.
      remat: recompute the activations of each block in the backward pass: less memory, about a
        third more time.
      dtype: "float32" or "bfloat16", of the computation. Parameters, their normalization, the
        embedding, softmax and the last convolution are float32 in either case.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import EDM2UNet
      >>> model = EDM2UNet(16, (1, 2), num_res_blocks=1, head_size=16, num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 8, 3)), jnp.array([0.1, -1.0])
      >>> condition = {"label": jnp.array([3, 10])}
      >>> init = model.init_with_output  # its shapes alone: nothing is computed
      >>> out, params = jax.eval_shape(init, jax.random.key(0), x, t, condition)
      >>> out.shape
      (2, 8, 8, 3)
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 3
    attention_resolutions: tuple[int, ...] = (16, 8)
    head_size: int = 64
    dropout: float = 0.0
    num_classes: int | None = None
    out_channels: int | None = None
    learned_variance: bool = False
    time_scale: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", "multipliers", "attention_resolutions", "head_size")
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "num_classes", high=fields.MOST_ROWS, optional=True)
        fields.whole(self, "out_channels", optional=True)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return () if self.num_classes is None else ("label",)

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
          condition: "label" int `[B]`, where the network has classes; without it, the null label.
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
        widths = [multiplier * self.channels for multiplier in self.multipliers]
        embedding = self._embed(t, condition, widths)
        out_channels = (self.out_channels or x.shape[-1]) * (2 if self.learned_variance else 1)

        def block(h: jax.Array, width: int, name: str, **options: Any) -> jax.Array:
            # `train` (the third argument after the module itself) is a Python bool.
            kind = nn.remat(MPBlock, static_argnums=(3,)) if self.remat else MPBlock
            made = kind(width, dropout=self.dropout, dtype=self.dtype, name=name, **options)
            return made(h, embedding, train)

        ones = jnp.ones_like(x[..., :1])  # in place of biases
        h = MPLinear(widths[0], 3, self.dtype, name="conv_in")(jnp.concatenate([x, ones], axis=-1))
        skips = [h]
        for i, width in enumerate(widths):
            if i > 0:
                h = block(h, h.shape[-1], f"down_{i}", encoder=True, resample="down")
                skips.append(h)
            heads = self._heads(f"down_{i}_0", h, width)
            for j in range(self.num_res_blocks):
                h = block(h, width, f"down_{i}_{j}", encoder=True, heads=heads)
                skips.append(h)

        h = block(h, widths[-1], "middle_0", encoder=False, heads=self._heads_of(widths[-1]))
        h = block(h, widths[-1], "middle_1", encoder=False)

        for i, width in reversed(list(enumerate(widths))):
            if i < last:
                h = block(h, h.shape[-1], f"up_{i}", encoder=False, resample="up")
            heads = self._heads(f"up_{i}_0", h, width)
            for j in range(self.num_res_blocks + 1):
                h = mp_join(h, skips.pop(), 0.5)
                h = block(h, width, f"up_{i}_{j}", encoder=False, heads=heads)

        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        return MPLinear(out_channels, 3, name="conv_out")(h, gain)

    def _embed(self, t: jax.Array, condition: Condition, widths: list[int]) -> jax.Array:
        """Time and label as one float32 vector `[B, max(widths)]`."""
        waves = MPFourier(widths[0], name="waves")(t * self.time_scale)
        embedding = MPLinear(max(widths), name="time_embedding")(waves)
        if self.num_classes is not None:
            # The null label is a row of zeros.
            label = labels(condition, t.shape[0], self.num_classes)
            rows = jax.nn.one_hot(label, self.num_classes) * math.sqrt(self.num_classes)
            told = MPLinear(max(widths), name="class_embedding")(rows)
            embedding = mp_sum(embedding, told, 0.5)
        return mp_silu(embedding)

    def _heads(self, block: str, h: jax.Array, width: int) -> int:
        """Heads of a level's block, see `attends`."""
        listed = attends(self, block, (h.shape[1], h.shape[2]), part="to_q")
        return self._heads_of(width) if listed else 0

    def _heads_of(self, width: int) -> int:
        if width % self.head_size:
            raise ValueError(
                f"EDM2UNet: expected every attending level's width to be divisible by head_size "
                f"{self.head_size}, got {width}; change head_size or channels"
            )
        return width // self.head_size
