"""What a run's autoencoder gives back, and a codebook that died."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffax import image_range
from diffax.data import Digits
from diffax.evaluation import reconstruction_report
from diffax.noun import noun, structure


class Module:
    """A quantizer's fields; latents are the pixels."""

    scaling_factor = 2.0
    num_vq_embeddings = 40

    def unscale(self, z):
        return z / self.scaling_factor


@noun
class Halved:
    """Images <-> twice their pixels; every copy is of half the contrast."""

    params: Any
    module: Any = structure(default=Module())

    def encode(self, raw, key=None):
        return 2 * image_range.to_float(raw)

    def decode(self, x):
        return x / 4


def test_figures_a_grid_and_a_line_where_codes_died(tmp_path):
    # Of 40 codes two are within the range of the pixels.
    book = np.concatenate([[[-1.0], [1.0]], np.linspace(50, 90, 38)[:, None]])
    codec = Halved({"params": {"quantize": {"embedding": {"embedding": book}}}})
    run = SimpleNamespace(
        config=SimpleNamespace(data=Digits(split="train")), codec=codec, workdir=tmp_path
    )
    with pytest.warns(UserWarning, match="codes died: of 40 only 5.0% are used; raise"):
        figures = reconstruction_report(run, num=20, shown=4)
    images = Digits(split="test").load().arrays()["x"][:20].astype(float)
    copies = np.rint((images / 127.5 - 1) / 2 * 127.5 + 127.5)
    mse = np.mean((images - copies) ** 2, axis=(1, 2, 3))
    assert figures["psnr"] == pytest.approx(np.mean(10 * np.log10(255**2 / mse)), rel=1e-3)
    assert figures["reconstructed"] == "20 images of split test"
    assert figures["latent_scale"] == 2.0 and figures["latent_shift"] == 0.0
    assert (tmp_path / "reconstructions.png").is_file()
