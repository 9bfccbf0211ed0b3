"""PSNR, SSIM and sharpness of uint8 images."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from diffax.evaluation import psnr, sharpness, ssim

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 16, 20, 3), np.uint8)


def test_psnr_of_one_level():
    off = np.where(IMAGES < 255, IMAGES + 1, IMAGES - 1).astype(np.uint8)
    np.testing.assert_allclose(psnr(IMAGES, off), 20 * np.log10(255))
    assert np.isinf(psnr(IMAGES, IMAGES)).all()


def test_ssim_is_one_for_the_same_and_falls_with_noise():
    np.testing.assert_allclose(ssim(IMAGES, IMAGES), 1)
    smooth = gaussian_filter(IMAGES.astype(float), (0, 2, 2, 0)).astype(np.uint8)
    noisy = np.clip(smooth + RNG.normal(0, 10, smooth.shape), 0, 255).astype(np.uint8)
    worse = np.clip(smooth + RNG.normal(0, 30, smooth.shape), 0, 255).astype(np.uint8)
    assert (1 > ssim(smooth, noisy)).all() and (ssim(smooth, noisy) > ssim(smooth, worse)).all()


def test_ssim_by_the_formula_at_one_window():
    a, b = IMAGES[:1, :11, :11, :1].astype(float), IMAGES[1:2, :11, :11, :1].astype(float)
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(line, line)[None, ..., None] / line.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * a**2).sum() - mean_a**2, (window * b**2).sum() - mean_b**2
    both = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    expected /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    got = ssim(IMAGES[:1, :11, :11, :1], IMAGES[1:2, :11, :11, :1])
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_sharpness_falls_with_blur():
    blurred = gaussian_filter(IMAGES.astype(float), (0, 1, 1, 0)).astype(np.uint8)
    assert (sharpness(blurred) < 0.2 * sharpness(IMAGES)).all()
    assert sharpness(np.full((1, 8, 8, 3), 7, np.uint8)).tolist() == [0]


def test_what_cannot_be_compared_is_one_line():
    with pytest.raises(ValueError, match="uint8 images"):
        psnr(IMAGES, IMAGES[:1])
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(IMAGES[:, :8], IMAGES[:, :8])
