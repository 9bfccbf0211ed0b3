"""What all blocks of one network have in common: norm, initialisers, dtypes, memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from diffax.models.blocks.convolution import Conv
from diffax.models.blocks.initializers import Initializer
from diffax.models.blocks.linear import Dense
from diffax.models.blocks.normalization import GroupNorm, LayerNorm

_LECUN = nn.initializers.lecun_normal()
_NORMAL = nn.initializers.normal(1.0)


@dataclasses.dataclass(frozen=True)
class Style:
    """Settings that every block of a network is built with.

    Attributes:
        groups: groups of each GroupNorm; None for as many as the width allows, see `group_count`.
        eps: added to the variance in GroupNorms.
        dropout: probability in the residual blocks, while training; 0 to 1.
        scale_shift: the time embedding scales and shifts after the second norm of a residual block
            (iDDPM) instead of being added before it (DDPM).
        taps: the filter of residual blocks that halve or double the image, see `filter_down`.
        map_resampled: such a block maps its shortcut even where the channels stay the same.
        query_chunk: see `diffax.models.blocks.attention.attend`.
        remat: recompute each residual and attention block in the backward pass, to save memory.
        axes: 2 for images `[B, H, W, C]`; 1 for sequences, which blocks see as images of one row,
            `[B, 1, L, C]`: kernels are 1 x size, and only columns are halved and doubled.
        dtype: of the computation; statistics and softmax are float32 inside.
        param_dtype: of the parameters.
        kernel_init: initialiser of linear maps and convolutions.
        out_init: initialiser of the last map of each branch that is added to something.
        qkv_init: initialiser of the query, key and value maps; None: that of linear maps.
        fan_in_bias: biases begin uniformly within 1 / sqrt(fan-in), as PyTorch's, and not at zero;
            not those of maps that begin as zeros altogether.
    """

    groups: int | None = None
    eps: float = 1e-6
    dropout: float = 0.0
    scale_shift: bool = False
    taps: tuple[int, ...] = (1, 1)
    map_resampled: bool = False
    query_chunk: int | None = None
    remat: bool = False
    axes: int = 2
    dtype: str = "float32"
    param_dtype: str = "float32"
    kernel_init: Initializer = _LECUN
    out_init: Initializer = _LECUN
    qkv_init: Initializer | None = None
    fan_in_bias: bool = False

    @property
    def dtypes(self) -> dict[str, Any]:
        """`dtype` and `param_dtype` as keyword arguments of a layer."""
        return dict(dtype=jnp.dtype(self.dtype), param_dtype=jnp.dtype(self.param_dtype))

    def norm(self, name: str, eps: float | None = None) -> GroupNorm:
        """A GroupNorm; `eps` replaces the style's own."""
        return GroupNorm(self.groups, self.eps if eps is None else eps, name=name, **self.dtypes)

    def layer_norm(self, name: str, eps: float = 1e-5) -> nn.LayerNorm:
        """A LayerNorm over the channels."""
        return LayerNorm(epsilon=eps, name=name, **self.dtypes)

    def dense(
        self,
        features: int,
        name: str,
        *,
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
    ) -> Dense:
        """A linear map of the channels."""
        init = self.kernel_init if kernel_init is None else kernel_init
        return Dense(
            features,
            use_bias,
            kernel_init=init,
            fan_in_bias=self._fans_in(init),
            name=name,
            **self.dtypes,
        )

    def conv(
        self,
        features: int,
        name: str,
        *,
        size: int = 3,
        stride: int = 1,
        padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME",
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
    ) -> Conv:
        """A convolution with a kernel of `size` x `size` pixels."""
        init = self.kernel_init if kernel_init is None else kernel_init
        row = self.axes == 1
        if row and not isinstance(padding, str):
            padding = ((0, 0), padding[1])
        return Conv(
            features,
            (1 if row else size, size),
            (1 if row else stride, stride),
            padding,
            use_bias,
            kernel_init=init,
            fan_in_bias=self._fans_in(init),
            name=name,
            **self.dtypes,
        )

    def _fans_in(self, kernel_init: Initializer) -> bool:
        return self.fan_in_bias and kernel_init is not nn.initializers.zeros

    def embed(self, rows: int, features: int, name: str, init: Initializer = _NORMAL) -> nn.Embed:
        """A table of `rows` vectors; they begin standard normal."""
        return nn.Embed(rows, features, embedding_init=init, name=name, **self.dtypes)
