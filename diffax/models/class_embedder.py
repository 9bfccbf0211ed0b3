"""The class labels of latent diffusion's ImageNet model as a context to attend to."""

from __future__ import annotations

import flax.linen as nn
import jax

from diffax.models import fields
from diffax.models.blocks.style import Style


class ClassEmbedder(nn.Module):
    """A table of one vector a class, the "text encoder" of class-conditional latent diffusion.

    Rombach et al. 2022, section 4.3.1 and appendix E.2. The last row stands for "no class", which
    classifier-free guidance steers away from.

    Attributes:
        n_classes: rows of the table, the last one included.
        embed_dim: width of the context.

    Example:
        >>> import jax.numpy as jnp
        >>> model = ClassEmbedder(n_classes=11, embed_dim=16)
        >>> params = model.init(jax.random.key(0), jnp.zeros(1, jnp.int32))
        >>> model.apply(params, jnp.array([3, 10])).shape
        (2, 1, 16)
    """

    n_classes: int = 1000
    embed_dim: int = 512
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        fields.whole(self, "n_classes", low=2, high=fields.MOST_ROWS)
        fields.whole(self, "embed_dim")
        fields.one_of(self, dtype=fields.DTYPES, param_dtype=fields.DTYPES)
        super().__post_init__()

    @property
    def null(self) -> int:
        """The label that means "no class"."""
        return self.n_classes - 1

    @nn.compact
    def __call__(self, label: jax.Array) -> jax.Array:
        """`[B]` int, in 0..n_classes - 1, to a context of one token `[B, 1, embed_dim]`."""
        style = Style(dtype=self.dtype, param_dtype=self.param_dtype)
        return style.embed(self.n_classes, self.embed_dim, "embedding")(label[:, None])
