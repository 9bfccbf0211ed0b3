"""Every kind of image file becomes the uint8 image a person would see."""

import io

import numpy as np
import pytest
from PIL import Image

from diffax.data import pixels

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_colour_is_exact(kind):
    file = encoded(Image.fromarray(COLOUR), kind)
    np.testing.assert_array_equal(pixels.decode(file), COLOUR)


def test_lossless_webp_is_exact():
    file = encoded(Image.fromarray(COLOUR), "WEBP", lossless=True)
    np.testing.assert_array_equal(pixels.decode(file), COLOUR)


def test_greyscale_becomes_colour_and_colour_greyscale():
    file = encoded(Image.fromarray(GREY))
    np.testing.assert_array_equal(pixels.decode(file), np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(pixels.decode(file, channels=1), GREY[..., None])
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    got = pixels.decode(encoded(Image.fromarray(COLOUR)), channels=1)[..., 0]
    np.testing.assert_allclose(got, luma, atol=1.0)


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_transparency_shows_the_background(background):
    alpha = RNG.integers(0, 256, (6, 9, 1), dtype=np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 255
    file = encoded(Image.fromarray(np.concatenate([COLOUR, alpha], axis=-1)))
    share = alpha / 255.0
    expected = share * COLOUR + (1 - share) * np.array(background)
    got = pixels.decode(file, background=background)
    np.testing.assert_allclose(got, expected, atol=1.0)
    assert tuple(got[0, 0]) == background
    np.testing.assert_array_equal(got[0, 1], COLOUR[0, 1])


def test_grey_with_transparency():
    image = Image.fromarray(np.stack([GREY, np.zeros_like(GREY)], axis=-1), "LA")
    assert (pixels.decode(encoded(image)) == 255).all()


def test_palettes_with_and_without_a_transparent_entry():
    image = Image.new("P", (4, 1))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 3])
    colours = np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(pixels.decode(encoded(image)), colours)
    for kind in ("PNG", "GIF"):
        seen = pixels.decode(encoded(image, kind, transparency=2), background=(9, 9, 9))
        assert seen[0].tolist() == [[0, 0, 0], [255, 0, 0], [9, 9, 9], [0, 0, 255]]


def test_black_and_white():
    file = encoded(Image.fromarray(GREY > 127))
    np.testing.assert_array_equal(pixels.decode(file)[..., 0], np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut(kind):
    levels = np.array([[0, 128, 255, 257, 32768, 65535]], np.uint16)
    got = pixels.decode(encoded(Image.fromarray(levels), kind), channels=1)
    assert got[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_cmyk():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta + yellow: red
    got = pixels.decode(encoded(image, "JPEG", quality=95)).astype(int)
    assert (got[..., 0] > 245).all() and (got[..., 1:] < 10).all()


def test_floating_point_levels_are_refused():
    with pytest.raises(ValueError, match="8 or 16 bits, got floating point"):
        pixels.decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels.decode(file) == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(COLOUR).save(path, exif=exif)
    upright = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.transpose(1, 0, 2),
        6: np.rot90(COLOUR, -1),
        7: COLOUR[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOUR),
    }[orientation]
    np.testing.assert_array_equal(pixels.decode(path), upright)
    assert pixels.size_of(path) == upright.shape[:2]


@pytest.mark.parametrize(
    "bad", [b"", b"not an image", encoded(Image.fromarray(COLOUR))[:-40], b"\x89PNG\r\n\x1a\n"]
)
def test_broken_files_are_os_errors(bad):
    with pytest.raises(OSError, match=r"image|truncated"):
        pixels.decode(bad)


def test_truncated_jpeg_is_broken():
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(OSError, match="broken image"):
        pixels.decode(file[: len(file) // 2])


def test_fit_takes_the_middle_of_the_longer_side():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (pixels.fit(wide, (10, 10)) == 200).all()
    # Shrunk, the cubic filter reads a few pixels beyond the border and overshoots by 1 %.
    tall = pixels.fit(wide.transpose(1, 0, 2), (5, 5)).astype(int)
    assert np.abs(tall[1:4] - 200).max() <= 3
    assert pixels.fit(wide, (7, 13)).shape == (7, 13, 3)
    assert pixels.fit(wide, (100, 40)).shape == (100, 40, 3)


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    out = pixels.fit(stripes, (16, 16))
    assert out[:, 1:-1].min() > 110 and out[:, 1:-1].max() < 145  # grey, not black or white


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_channel_is_resized_alike(channels):
    image = RNG.integers(0, 256, (12, 16, channels), dtype=np.uint8)
    out = pixels.fit(image, (6, 6))
    assert out.shape == (6, 6, channels)
    for c in range(channels):
        alone = pixels.fit(image[..., c : c + 1], (6, 6))
        np.testing.assert_array_equal(out[..., c : c + 1], alone)


def test_jpegs_decoded_small_look_like_those_decoded_whole():
    y, x = np.mgrid[0:512, 0:512]
    smooth = np.stack([127 + 100 * np.sin(x / 40), 127 + 100 * np.cos(y / 30), x / 2], axis=-1)
    file = encoded(Image.fromarray(smooth.astype(np.uint8)), "JPEG", quality=95)
    small = pixels.decode(file, at_least=(32, 32))
    assert 64 <= small.shape[0] < 512
    whole = pixels.fit(pixels.decode(file), (32, 32)).astype(int)
    assert np.abs(pixels.fit(small, (32, 32)) - whole).max() <= 4
