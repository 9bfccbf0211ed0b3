"""Clouds of vectors on axes that stand still."""

import numpy as np
import pytest
from PIL import Image

from diffax import plotting

RNG = np.random.default_rng(0)


def test_limits_are_square_and_leave_outliers_out():
    vectors = RNG.uniform([0, 0], [4, 2], (5000, 2))
    vectors[0] = (1e6, np.nan)
    (left, right), (bottom, top) = plotting.limits(vectors, margin=0.1)
    np.testing.assert_allclose([left, right, bottom, top], [-0.4, 4.4, -1.4, 3.4], atol=0.05)
    assert plotting.limits(np.full((3, 2), np.nan)) == ((-1, 1), (-1, 1))
    (left, right), _ = plotting.limits(np.zeros((3, 2)))
    assert left < 0 < right


def dark_centre(image):
    """(row, column) of the middle of what is drawn in the vectors' colour."""
    blue = image[..., 2].astype(int) - image[..., 0] > 40
    return np.argwhere(blue).mean(0)


def test_vectors_are_drawn_where_they_are():
    cloud = RNG.normal([0.5, 0.5], 0.01, (200, 2))
    image = plotting.scatter(cloud, axes=((-1, 1), (-1, 1)), title="t = 3", size=300)
    assert image.shape == (300, 300, 3) and image.dtype == np.uint8
    row, column = dark_centre(image)
    assert row < 140 and column > 160  # above the middle, right of it
    assert plotting.scatter(RNG.normal(size=(10, 5))).shape == (512, 512, 3)
    assert plotting.scatter(RNG.normal(size=(10, 1))).shape == (512, 512, 3)


def test_vectors_in_space_are_coloured_by_height(tmp_path):
    cloud = RNG.uniform(-1, 1, (400, 3))
    assert len(plotting.limits(cloud)) == 3
    image = plotting.scatter(cloud, size=300).astype(int)
    yellow = (image[..., 0] > image[..., 2] + 60).nonzero()[0]  # viridis, from below to above
    violet = (image[..., 2] > image[..., 1] + 40).nonzero()[0]
    assert len(yellow) > 30 and len(violet) > 30 and yellow.mean() < violet.mean() - 30
    labelled = plotting.scatter(cloud, labels=np.zeros(400, int), size=300).astype(int)
    assert not (labelled[..., 0] > labelled[..., 2] + 60).any()
    plotting.scatter_gif(tmp_path / "a.gif", np.stack([cloud, cloud / 2]), ["a", "b"], size=200)
    with Image.open(tmp_path / "a.gif") as back:
        assert back.n_frames == 2


def test_labels_have_their_own_colours():
    labels = np.arange(100) % 2
    image = plotting.scatter(RNG.normal(size=(100, 2)), labels=labels, size=200).astype(int)
    red, blue = image[..., 0] - image[..., 2], image[..., 2] - image[..., 0]
    assert (red > 40).sum() > 50 and (blue > 40).sum() > 50
    with pytest.raises(ValueError, match="expected 100 labels, one a vector, got 3"):
        plotting.scatter(RNG.normal(size=(100, 2)), labels=labels[:3])


def test_a_strip_keeps_the_axes_fixed():
    # The cloud moves right and up from panel to panel: it must do so in the image.
    clouds = [RNG.normal([i, i], 0.02, (300, 2)) for i in range(4)]
    image = plotting.scatter_strip(clouds, [f"t = {i}" for i in range(4)], columns=2, size=100)
    assert image.shape == (248, 200, 3)
    panels = [image[r : r + 124, c : c + 100] for r in (0, 124) for c in (0, 100)]
    rows, columns = np.array([dark_centre(panel) for panel in panels]).T
    assert (np.diff(rows) < -10).all() and (np.diff(columns) > 10).all()
    with pytest.raises(ValueError, match="got 4 clouds and 1 titles"):
        plotting.scatter_strip(clouds, ["t"])


def test_a_gif_moves_on_fixed_axes_and_holds_the_end(tmp_path):
    clouds = np.stack([RNG.normal([i, 0], 0.02, (300, 2)) for i in range(3)])
    titles = ["t = 2", "t = 1", "t = 0"]
    plotting.scatter_gif(tmp_path / "a.gif", clouds, titles, size=200, fps=20, hold=3)
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
    # The axis below stands still, but for the rounding to 64 colours of each frame.
    np.testing.assert_allclose(edges[0].astype(int), edges[2].astype(int), atol=16)
