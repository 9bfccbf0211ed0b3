"""One image: from any common file to uint8 [H, W, C] of the size asked for."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_RESAMPLE = Image.Resampling.BICUBIC  # Pillow widens the filter when it shrinks: antialiased


def decode(
    file: str | os.PathLike | bytes,
    *,
    channels: int = 3,
    background: tuple[int, int, int] = (255, 255, 255),
    at_least: tuple[int, int] | None = None,
) -> np.ndarray:
    """Reads the first frame of an image.

    Transparency shows the background, EXIF orientation is applied, 16-bit levels are scaled to 8
    bits, palettes and CMYK become RGB; colour profiles are ignored.

    Args:
        file: a path, or the file's bytes.
        channels: 3 (RGB) or 1 (luma, ITU-R 601).
        background: RGB, 0 to 255.
        at_least: (height, width) that is enough: a JPEG may then be decoded at a half, quarter or
            eighth of its size, never below twice this one.

    Returns:
        uint8 [H, W, channels].

    Raises:
        OSError: not an image, or broken.
        ValueError: levels that cannot be read as 8 or 16 bits.
    """
    with _open(file) as image:
        if at_least is not None and image.format == "JPEG":
            side = 2 * max(at_least)
            image.draft(None, (side, side))
        try:
            image.load()
        except Exception as error:  # decoders raise many kinds on broken data
            raise OSError(f"broken image: {error}") from error
        image = ImageOps.exif_transpose(image)
        image = _eight_bits(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, (*background, 255))
            image = Image.alpha_composite(ground, image)
        image = image.convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion of 16-bit grey to 8 bits cuts levels above 255 off.
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(
                f"expected grey levels of 8 or 16 bits, got {levels.min()} to {levels.max()}"
            )
        return Image.fromarray(np.rint(levels / 257.0).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("expected grey levels of 8 or 16 bits, got floating point")
    return image


def _open(file: str | os.PathLike | bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except UnidentifiedImageError as error:
        raise OSError("not an image of a known format") from error
    except FileNotFoundError:
        raise
    except Exception as error:  # broken headers, and images too large to be honest
        raise OSError(f"broken image: {error}") from error


def size_of(file: str | os.PathLike | bytes) -> tuple[int, int]:
    """(height, width) of an image as it will be shown, from its header only."""
    with _open(file) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
        width, height = image.size
    return (width, height) if turned else (height, width)


def resize(
    pixels: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    """Resamples a rectangle of an image (bicubic, antialiased).

    Args:
        pixels: uint8 [H, W, C].
        size: (height, width) of the result.
        box: (left, top, right, bottom) in pixels, fractions allowed.

    Returns:
        uint8 [height, width, C].
    """
    height, width = size
    if pixels.shape[-1] in (1, 3):
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        out = np.asarray(image.resize((width, height), _RESAMPLE, box=box))
        return out[..., None] if out.ndim == 2 else out
    # Other channel counts one by one: Pillow would take a fourth for transparency.
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(pixels.shape[-1])
    ]
    return np.stack(
        [np.asarray(plane.resize((width, height), _RESAMPLE, box=box)) for plane in planes], axis=-1
    )


def fit(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes the shorter side and keeps the middle.

    Args:
        pixels: uint8 [H, W, C].
        size: (height, width).

    Returns:
        uint8 [height, width, C].
    """
    have_h, have_w = pixels.shape[:2]
    if (have_h, have_w) == tuple(size):
        return pixels
    scale = min(have_h / size[0], have_w / size[1])
    box_h, box_w = scale * size[0], scale * size[1]
    left, top = (have_w - box_w) / 2, (have_h - box_h) / 2
    right, bottom = min(left + box_w, have_w), min(top + box_h, have_h)  # rounding must not pass
    return resize(pixels, size, (max(left, 0), max(top, 0), right, bottom))


def fit_all(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """`fit` for uint8 [N, H, W, C]; as they are where the size is theirs or None."""
    if size is None or images.shape[1:3] == tuple(size):
        return images
    return np.stack([fit(image, size) for image in images])
