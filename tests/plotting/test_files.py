"""Files that are whole or not there."""

import os

import numpy as np
import pytest
from PIL import Image

from diffax import plotting

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_pixels_and_metadata(tmp_path, channels):
    image = RNG.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    path = tmp_path / "new" / "folder" / "a.png"
    plotting.save_image(path, image, {"prompt": "ein Hündchen", "seed": "3"})
    with Image.open(path) as back:
        pixels = np.asarray(back).reshape(5, 7, channels)
        np.testing.assert_array_equal(pixels, image)
        assert back.text == {"prompt": "ein Hündchen", "seed": "3"}
    assert os.listdir(path.parent) == ["a.png"]  # nothing temporary stays
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_gif_frames_and_times(tmp_path):
    # A dot on a black ground that moves; few colours, so the palette is exact.
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    for i in range(4):
        frames[i, 2, 3 * i] = (250, 10 * i, 0)
    plotting.save_gif(tmp_path / "a.gif", iter(frames), fps=10, hold=1.5)
    with Image.open(tmp_path / "a.gif") as back:
        assert back.n_frames == 4 and back.info["loop"] == 0
        durations = []
        for i in range(4):
            back.seek(i)
            durations.append(back.info["duration"])
            np.testing.assert_array_equal(np.asarray(back.convert("RGB")), frames[i])
    assert durations == [100, 100, 100, 1500]
    plotting.save_gif(tmp_path / "grey.gif", [frames[0][..., :1], frames[1][..., :1]])
    for bad, message in (([], "at least one frame"), ([frames[0], frames[0][:8]], "one size")):
        with pytest.raises(ValueError, match=message):
            plotting.save_gif(tmp_path / "b.gif", bad)
    with pytest.raises(ValueError, match="1 to 50 frames"):
        plotting.save_gif(tmp_path / "b.gif", frames, fps=100)


def test_a_path_that_cannot_be_written_says_so_and_nothing_is_lost(tmp_path, monkeypatch):
    image = np.zeros((2, 2, 3), np.uint8)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write .*file/a.png: (File exists|Not a directory)"):
        plotting.save_image(tmp_path / "file" / "a.png", image)
    with pytest.raises(OSError, match="cannot write .*: Is a directory"):
        plotting.save_image(tmp_path, image)
    # A disk that fills up while the file is written: the older one stays, nothing else does.
    plotting.save_image(tmp_path / "a.png", image)
    older = (tmp_path / "a.png").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="cannot write .*a.png: No space left on device"):
        plotting.save_image(tmp_path / "a.png", image + 1)
    assert (tmp_path / "a.png").read_bytes() == older
    assert sorted(os.listdir(tmp_path)) == ["a.png", "file"]
