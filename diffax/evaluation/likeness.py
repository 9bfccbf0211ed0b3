"""How alike two images are, and how sharp one is: plain figures of uint8 images."""

import numpy as np

_RANGE = 255.0


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each pair, in decibel.

    Args:
        a: uint8 `[N, H, W, C]`.
        b: likewise.

    Returns:
        float64 `[N]`; infinite where both are the same.

    Example:
        >>> a = np.zeros((1, 2, 2, 1), np.uint8)
        >>> psnr(a, a + 255).tolist()
        [0.0]
    """
    a, b = _pair(a, b)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(_RANGE**2 / np.mean((a - b) ** 2, axis=(1, 2, 3)))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair (Wang et al. 2004), the mean over channels, at most 1.

    With the paper's Gaussian window of standard deviation 1.5 in 11 x 11 pixels, K1 = 0.01 and
    K2 = 0.03; windows that reach over the edge are left out.

    Args:
        a: uint8 `[N, H, W, C]`, sides of 11 pixels or more.
        b: likewise.

    Returns:
        float64 `[N]`.

    Raises:
        ValueError: images smaller than the window.
    """
    a, b = _pair(a, b)
    if min(a.shape[1:3]) < 11:
        raise ValueError(f"ssim needs images of 11 x 11 pixels or more, got {list(a.shape)}")

    from scipy import ndimage

    def blurred(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, (0, 1.5, 1.5, 0), radius=(0, 5, 5, 0))[:, 5:-5, 5:-5]

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return np.mean(luminance * structure, axis=(1, 2, 3))


def sharpness(images: np.ndarray) -> np.ndarray:
    """Variance of each image's Laplacian, the mean over channels: large where edges are sharp.

    Args:
        images: uint8 `[N, H, W, C]`.

    Returns:
        float64 `[N]`, in squared grey levels.
    """
    x = np.asarray(images).astype(np.float64)
    inner = x[:, 1:-1, 1:-1]
    sides = x[:, 2:, 1:-1] + x[:, :-2, 1:-1] + x[:, 1:-1, 2:] + x[:, 1:-1, :-2]
    return np.var(sides - 4 * inner, axis=(1, 2)).mean(axis=-1)


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 4 or a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(
            f"expected two sets of uint8 images [N, H, W, C] of one shape, got {a.dtype} "
            f"{list(a.shape)} and {b.dtype} {list(b.shape)}"
        )
    return a.astype(np.float64), b.astype(np.float64)
