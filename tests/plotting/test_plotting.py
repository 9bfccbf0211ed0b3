"""Pictures: their layout to the pixel, files that are whole or not there, axes that stand still."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffax import plotting

RNG = np.random.default_rng(0)


def test_to_uint8_at_the_ends_and_outside():
    levels = plotting.to_uint8(np.array([-1.0, 1.0, 0.0, -7.0, 7.0, np.nan, np.inf]))
    assert levels.tolist() == [0, 255, 128, 0, 255, 0, 255]
    pictures = RNG.integers(0, 256, (3, 4), dtype=np.uint8)
    assert plotting.to_uint8(pictures) is pictures
    np.testing.assert_array_equal(plotting.to_uint8(pictures / 127.5 - 1), pictures)
    assert plotting.to_uint8(jnp.ones((2,), jnp.bfloat16)).tolist() == [255, 255]
    with pytest.raises(ValueError, match="got int64"):
        plotting.to_uint8(np.zeros(3, np.int64))


def test_a_grid_shows_every_image_in_its_place():
    images = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    grid = plotting.image_grid(images, columns=2, padding=1, background=7, min_width=0)
    assert grid.shape == (3 * 5 + 1, 2 * 7 + 1, 3)
    for i, image in enumerate(images):
        top, left = 1 + i // 2 * 5, 1 + i % 2 * 7
        np.testing.assert_array_equal(grid[top : top + 4, left : left + 6], image)
    assert (grid[0] == 7).all() and (grid[11:, 8:] == 7).all()  # the gaps and the empty place


def test_small_images_are_enlarged_sharply():
    images = RNG.integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    small = plotting.image_grid(images, min_width=0)
    large = plotting.image_grid(images)
    factor = large.shape[1] // small.shape[1]
    assert 512 <= large.shape[1] < 512 + small.shape[1]
    np.testing.assert_array_equal(large[::factor, ::factor], small)
    np.testing.assert_array_equal(large[factor - 1 :: factor, factor - 1 :: factor], small)


def test_a_strip_has_a_row_for_each_image_and_time_goes_right():
    trajectory = (
        np.zeros((31, 2, 4, 4, 1), np.uint8)
        + np.arange(31, dtype=np.uint8)[:, None, None, None, None]
    )
    trajectory[:, 1] += 100
    picture = plotting.strip(trajectory, count=4, min_width=0)
    assert picture.shape == (2 * 5 + 1, 4 * 5 + 1, 1)
    assert picture[2, 2::5, 0].tolist() == [0, 10, 20, 30]
    assert picture[7, 2::5, 0].tolist() == [100, 110, 120, 130]
    few = plotting.strip(trajectory[:2], count=10, min_width=0)  # fewer moments than asked for
    assert few[2, 2::5, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4, 3)), np.zeros((2, 4, 4, 4)), np.zeros((0, 4, 4, 3))]
)
def test_shapes_that_are_no_images_are_refused(images):
    with pytest.raises(ValueError, match=r"\[N, H, W, C\] with C = 1 or 3, got shape"):
        plotting.image_grid(images)
    with pytest.raises(ValueError, match="trajectory"):
        plotting.strip(images)


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


def test_limits_are_square_and_leave_outliers_out():
    points = RNG.uniform([0, 0], [4, 2], (5000, 2))
    points[0] = (1e6, np.nan)
    (left, right), (bottom, top) = plotting.limits(points, margin=0.1)
    np.testing.assert_allclose([left, right, bottom, top], [-0.4, 4.4, -1.4, 3.4], atol=0.05)
    assert plotting.limits(np.full((3, 2), np.nan)) == ((-1, 1), (-1, 1))
    (left, right), _ = plotting.limits(np.zeros((3, 2)))
    assert left < 0 < right


def dark_centre(picture):
    """(row, column) of the middle of what is drawn in the points' colour."""
    blue = picture[..., 2].astype(int) - picture[..., 0] > 40
    return np.argwhere(blue).mean(0)


def test_points_are_drawn_where_they_are():
    cloud = RNG.normal([0.5, 0.5], 0.01, (200, 2))
    picture = plotting.scatter(cloud, axes=((-1, 1), (-1, 1)), title="t = 3", size=300)
    assert picture.shape == (300, 300, 3) and picture.dtype == np.uint8
    row, column = dark_centre(picture)
    assert row < 140 and column > 160  # above the middle, right of it
    assert plotting.scatter(RNG.normal(size=(10, 5))).shape == (512, 512, 3)
    assert plotting.scatter(RNG.normal(size=(10, 1))).shape == (512, 512, 3)


def test_labels_have_their_own_colours():
    labels = np.arange(100) % 2
    picture = plotting.scatter(RNG.normal(size=(100, 2)), labels=labels, size=200).astype(int)
    red, blue = picture[..., 0] - picture[..., 2], picture[..., 2] - picture[..., 0]
    assert (red > 40).sum() > 50 and (blue > 40).sum() > 50
    with pytest.raises(ValueError, match="expected 100 labels, one a point, got 3"):
        plotting.scatter(RNG.normal(size=(100, 2)), labels=labels[:3])


def test_a_points_strip_keeps_the_axes_fixed():
    # The cloud moves right and up from panel to panel: it must do so in the picture.
    clouds = [RNG.normal([i, i], 0.02, (300, 2)) for i in range(4)]
    picture = plotting.points_strip(clouds, [f"t = {i}" for i in range(4)], columns=2, size=100)
    assert picture.shape == (248, 200, 3)
    panels = [picture[r : r + 124, c : c + 100] for r in (0, 124) for c in (0, 100)]
    rows, columns = np.array([dark_centre(panel) for panel in panels]).T
    assert (np.diff(rows) < -10).all() and (np.diff(columns) > 10).all()
    with pytest.raises(ValueError, match="got 4 clouds and 1 titles"):
        plotting.points_strip(clouds, ["t"])


def test_a_points_gif_moves_on_fixed_axes_and_holds_the_end(tmp_path):
    clouds = np.stack([RNG.normal([i, 0], 0.02, (300, 2)) for i in range(3)])
    titles = ["t = 2", "t = 1", "t = 0"]
    plotting.points_gif(tmp_path / "a.gif", clouds, titles, size=200, fps=20, hold=3)
    with Image.open(tmp_path / "a.gif") as back:
        assert back.n_frames == 3 and back.size == (200, 200)
        columns, edges = [], []
        for i in range(3):
            back.seek(i)
            frame = np.asarray(back.convert("RGB"))
            columns.append(dark_centre(frame)[1])
            edges.append(frame[-40:].copy())
        assert back.info["duration"] == 3000
    assert (np.diff(columns) > 30).all()
    np.testing.assert_array_equal(edges[0], edges[2])  # the axis below stands still


def test_curves_are_pictures_whatever_the_records():
    records = [{"step": s, "loss": 100.0 / (s + 1)} for s in range(200)]
    picture = plotting.loss_curve(records, title="loss")
    assert picture.shape == (500, 800, 3)
    odd = [{"step": 1, "loss": float("nan")}, {"note": "no step"}, {"step": 2, "loss": 3}]
    for records in (odd, odd[:2], []):
        assert plotting.loss_curve(iter(records)).shape == (500, 800, 3)
    assert not np.array_equal(picture, plotting.loss_curve([]))


def test_the_curve_falls_where_the_loss_falls():
    picture = plotting.loss_curve([{"step": s, "loss": 1.0 - s / 300} for s in range(200)])
    ink = np.abs(picture.astype(int) - (0x1F, 0x4E, 0x79)).sum(-1) < 30
    ink = ink[150:450, 100:760]  # below the legend
    tops = [np.argwhere(ink[:, c]).mean() for c in range(250, 600, 50)]
    assert (np.diff(tops) > 0).all()


def test_charts_of_several_lines():
    series = {"ddim": ([5, 10, 20], [4.0, 2.0, np.nan]), "heun": ([5, 20], [3.0, 1.0])}
    picture = plotting.line_chart(
        series, title="a", x_label="b", y_label="c", log_x=True, log_y=True, markers=True
    )
    assert picture.shape == (500, 800, 3)
    assert plotting.line_chart({}, size=(300, 200)).shape == (200, 300, 3)


def test_pyplot_is_left_alone():
    code = (
        "import sys; from diffax import plotting; plotting.loss_curve([]);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
