"""How well a run enlarges images that it was not trained on, beside bicubic interpolation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from diffax import plotting
from diffax.conditioning.low_res import enlarged
from diffax.evaluation.likeness import psnr, sharpness, ssim
from diffax.evaluation.reconstruction import held_out_images
from diffax.generation.tasks import upscale
from diffax.image_range import to_uint8


def upscaling_report(run: Any, *, num: int = 128, shown: int = 8) -> dict[str, Any]:
    """Figures of a super-resolution run, and `upscaled.png` in its folder.

    Args:
        run: a `Run` whose model enlarges images.
        num: held-out images looked at, from the first on.
        shown: of them in the grid: small, bicubic, ours, original.

    Returns:
        PSNR in decibel, SSIM and sharpness (see `diffax.evaluation.sharpness`), means over the
        images, of the model's and of bicubic interpolation's; the originals' sharpness.
    """
    model = run.model_to_sample()
    images, split = held_out_images(run.config.data, num)
    small = model.conditioner.columns({"x": images})["low_res"]
    ours = to_uint8(np.asarray(upscale(model, small, seed=0)))
    factor = model.conditioner.factor
    bicubic = to_uint8(np.asarray(enlarged(jnp.asarray(small), factor)))
    figures: dict[str, Any] = {"upscaled": f"{len(images):,} images of split {split}"}
    for name, guess in (("", ours), ("bicubic_", bicubic)):
        figures[f"{name}psnr"] = float(np.mean(np.minimum(psnr(images, guess), 100)))
        if min(images.shape[1:3]) >= 11:
            figures[f"{name}ssim"] = float(np.mean(ssim(images, guess)))
        figures[f"{name}sharpness"] = float(np.mean(sharpness(guess)))
    figures["original_sharpness"] = float(np.mean(sharpness(images)))
    nearest = to_uint8(small).repeat(factor, axis=1).repeat(factor, axis=2)
    rows = np.stack([part[:shown] for part in (nearest, bicubic, ours, images)], axis=1)
    grid = plotting.image_grid(rows.reshape(-1, *images.shape[1:]), columns=8)
    plotting.save_image(run.workdir / "upscaled.png", grid)
    return figures
