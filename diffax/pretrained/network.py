"""One published network: a Flax module with its parameters, from a folder and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from diffax.noun import noun, structure
from diffax.pretrained.configs import module_from_config, parameter_shapes, read_json
from diffax.pretrained.filling import fill
from diffax.pretrained.saving import save_network, weights_stem
from diffax.pretrained.weights import open_folder


@noun
class LoadedNetwork:
    """A Flax module and its parameters, as one pytree.

    Attributes:
        module: static; its fields are those of the published `config.json`.
        params: `{"params": ...}`, as `module.init` makes it.
    """

    module: nn.Module = structure()
    params: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`module.apply` with the parameters."""
        return self.module.apply(self.params, *args, **kwargs)

    def save(
        self, folder: str | Path, *, dtype: jnp.dtype | None = None, variant: str | None = None
    ) -> None:
        """Writes the diffusers layout; see `diffax.pretrained.saving.save_network`."""
        save_network(folder, self.module, self.params, dtype=dtype, variant=variant)


def load_network(
    folder: str | Path,
    *,
    dtype: jnp.dtype = jnp.float32,
    param_dtype: jnp.dtype = jnp.float32,
    variant: str | None = None,
    **options: Any,
) -> LoadedNetwork:
    """Loads one network from a folder with `config.json` and safetensors.

    Args:
        folder: such as `checkpoint/unet`, or a whole `google/ddpm-*` snapshot.
        dtype: of the computation.
        param_dtype: of the parameters in memory, whatever the file's.
        variant: such as "fp16", to prefer that file.
        **options: `query_chunk`, `remat`, for networks that have them.

    Returns:
        The network, complete; nothing is half-loaded.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
        ValueError: an unsupported network, an unusable file, or tensors that do not fit.

    Example:
        >>> unet = load_network("stable-diffusion-v1-5/unet")  # doctest: +SKIP
        >>> unet(x, t, {"context": text})  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    config = read_json(folder / "config.json")
    try:
        module = module_from_config(config, dtype=dtype, param_dtype=param_dtype, **options)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    tensors = open_folder(folder, weights_stem(module), variant)
    params = fill(parameter_shapes(module), tensors, where=str(folder))
    return LoadedNetwork(module, params)
