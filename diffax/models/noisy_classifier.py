"""The classifier of noisy images that guides ADM (Dhariwal & Nichol 2021, section 4)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields
from diffax.models.adm import EPS, INIT, adm_style, descend, level_attentions
from diffax.models.blocks.attention import Attention
from diffax.models.blocks.embeddings import TimestepEmbedding, sinusoidal_embedding
from diffax.models.blocks.normalization import GroupNorm
from diffax.models.condition import check_images


class NoisyClassifier(nn.Module):
    """The way down of ADM's U-Net with attention pooling: which class a noisy image shows.

    `ClassifierGuidance(denoiser, classifier.apply, params, label)` steers with it. The published
    ones have 1,000 classes; for 64 x 64 (`num_res_blocks=4`) 65,438,568 parameters, for 128 x 128
    (`multipliers=(1, 1, 2, 3, 4)`) 42,568,040 and for 256 x 256 (`multipliers=(1, 1, 2, 2, 4, 4)`)
    54,096,360. Pooling learns a vector for every place: the image's size is fixed.

    Attributes:
      channels: width of the time embedding's waves, and the unit of all widths.
      multipliers: each level's width over `channels`; every level but the last halves the image.
      num_res_blocks: residual blocks a level.
      attention_resolutions: a level whose height or width is listed attends after each of its
        residual blocks. The middle always attends.
      num_heads: attention heads of every level; None for heads of `head_size` channels.
      head_size: channels a head, where `num_heads` is None.
      dropout: probability in the residual blocks, while training.
      num_classes: K, at least 2.
      time_scale: multiplies t before the embedding, which is made for 0 ... 1000.
      remat: recompute the activations of each residual and attention block in the backward pass.
      dtype: "float32" or "bfloat16", of the computation up to the middle.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from diffax.models import NoisyClassifier
      >>> model = NoisyClassifier(16, (1, 2), 1, num_heads=2, num_classes=10)
      >>> x, t = jnp.zeros((2, 8, 8, 3)), jnp.array([0.0, 999.0])
      >>> model.apply(model.init(jax.random.key(0), x, t), x, t).shape
      (2, 10)
    """

    channels: int = 128
    multipliers: tuple[float, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (32, 16, 8)
    num_heads: int | None = None
    head_size: int = 64
    dropout: float = 0.0
    num_classes: int = 1000
    time_scale: float = 1.0
    remat: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "channels", low=4)
        fields.number(self, "multipliers", low=0, high=fields.WIDEST)
        fields.same_length(self, "multipliers")
        fields.whole(self, "num_res_blocks", high=fields.MOST_LAYERS)
        fields.whole(self, "attention_resolutions", "head_size")
        fields.whole(self, "num_heads", optional=True)
        fields.whole(self, "num_classes", low=2, high=fields.MOST_ROWS)
        fields.number(self, "dropout", low=0, high=1)
        fields.number(self, "time_scale")
        fields.one_of(self, dtype=("float32", "bfloat16"))
        super().__post_init__()

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(int(multiplier * self.channels) for multiplier in self.multipliers)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, *, train: bool = False) -> jax.Array:
        """Classify noisy images.

        Args:
          x: `[B, H, W, C]`, H and W divisible by 2 ** (levels - 1), always the same.
          t: `[B]`, times.
          train: with dropout (random stream "dropout").

        Returns:
          Logits `[B, K]`, float32.

        Raises:
          ValueError: a size that cannot be halved often enough.
        """
        last = len(self.multipliers) - 1
        check_images(self, x, t, 2**last, f"for `multipliers` halves them {last} times")
        style = adm_style(self)
        exact = dataclasses.replace(style, dtype="float32")
        waves = sinusoidal_embedding(
            t * self.time_scale, self.channels, flip_sin_to_cos=True, freq_shift=0
        )
        embedding = TimestepEmbedding(exact, 4 * self.channels, name="time_embedding")(waves)
        specs = level_attentions(self, x)
        h, _ = descend(self, style, specs, "resnet", x, embedding, train)

        h = nn.silu(GroupNorm(epsilon=EPS, name="norm_out")(h))
        heads = self.num_heads or h.shape[-1] // self.head_size
        pool = dataclasses.replace(exact, out_init=INIT)
        tokens = h.reshape(h.shape[0], -1, h.shape[-1])
        tokens = jnp.concatenate([tokens.mean(axis=1, keepdims=True), tokens], axis=1)
        init = nn.initializers.normal(h.shape[-1] ** -0.5)
        places = self.param("places", init, tokens.shape[1:], jnp.float32)
        tokens = tokens + places[None, :, :]
        # Only what the mean gathers is looked at.
        pooled = Attention(pool, heads, features=self.num_classes, name="pool")
        return pooled(tokens[:, :1], tokens)[:, 0]
