"""How well a run's autoencoder gives images back that it was not trained on."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from diffax import plotting
from diffax.compilation import jit
from diffax.evaluation.likeness import psnr, ssim
from diffax.image_range import to_uint8
from diffax.losses.vector_quantization import counts_of, nearest_codes

_FEW = 0.1  # share of the codes below which it is said that the others died


def reconstruction_report(run: Any, *, num: int = 512, shown: int = 32) -> dict[str, Any]:
    """Figures of an autoencoder's run, and `reconstructions.png` in its folder.

    The images are those of the split "test" where the data hold some out, else those trained on.

    Args:
        run: a `Run` with a codec.
        num: images looked at, from the first on.
        shown: of them in the grid, each with its reconstruction on the right.

    Returns:
        PSNR in decibel and SSIM, means over the images; the latents' mean and standard deviation
        before scaling; for a codebook the share of its codes that are used.
    """
    images, split = held_out_images(run.config.data, num)
    latents, copies = there_and_back(run.codec, images)
    module = run.codec.module
    figures = {
        "reconstructed": f"{len(images):,} images of split {split}",
        "psnr": float(np.mean(np.minimum(psnr(images, copies), 100))),
        "latent_scale": module.scaling_factor,
        "latent_shift": getattr(module, "shift_factor", None) or 0.0,
        "latent_std_after_scaling": float(np.std(latents)),
    }
    if min(images.shape[1:3]) >= 11:
        figures["ssim"] = float(np.mean(ssim(images, copies)))
    if hasattr(module, "num_vq_embeddings"):
        figures["codes_used"] = used = _codes_used(run.codec, latents)
        if used < _FEW:
            warnings.warn(
                f"codes died: of {module.num_vq_embeddings} only {used:.1%} are used; raise "
                "regularizer.revive, lower regularizer.commitment, or give vq_model fewer",
                stacklevel=2,
            )
    pairs = np.stack([images[:shown], copies[:shown]], axis=1)
    grid = plotting.image_grid(pairs.reshape(-1, *images.shape[1:]), columns=8)
    plotting.save_image(run.workdir / "reconstructions.png", grid)
    return figures


def there_and_back(codec: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latents of images, and the images that they become again.

    Args:
        codec: see `load_codec`.
        images: uint8 `[N, H, W, C]`.

    Returns:
        Latents float32 `[N, h, w, C]`, and uint8 `[N, H, W, C]`.
    """
    pairs = [_there_and_back(codec, part) for part in _parts(images)]
    latents, copies = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return latents, to_uint8(copies)


@jit
def _there_and_back(codec: Any, images: Any) -> tuple[Any, Any]:
    latents = codec.encode(images)
    return latents, codec.decode(latents)


def held_out_images(data: Any, num: int) -> tuple[np.ndarray, str]:
    """Images uint8 `[N, H, W, C]` of the split "test" where there is one, and the split's name.

    Args:
        data: a recipe's noun.
        num: at most so many, from the first on.
    """
    split = getattr(data, "split", "all")
    if split == "train":
        data, split = dataclasses.replace(data, split="test"), "test"
    dataset = data.load()
    return dataset.examples(np.arange(min(num, dataset.spec.size)))["x"], split


def _parts(x: np.ndarray) -> list[np.ndarray]:
    return np.array_split(x, max(1, len(x) // 128))


def _codes_used(codec: Any, latents: np.ndarray) -> float:
    """Share of the codes that stand for any of these latents."""
    book = codec.params["params"]["quantize"]["embedding"]["embedding"]
    codes = nearest_codes(codec.module.unscale(jnp.asarray(latents)), book)
    return float(jnp.mean(counts_of(codes, len(book)) > 0))
