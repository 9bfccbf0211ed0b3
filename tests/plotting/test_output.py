"""Samples as files, and outputs refused before anything is computed."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffax import codecs, plotting
from diffax.image_range import to_float

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
VECTORS = RNG.normal(size=(50, 2))


@pytest.mark.parametrize("samples", [LEVELS, to_float(LEVELS)])
def test_images_by_every_ending(tmp_path, samples):
    labels = np.arange(5)
    plotting.export(tmp_path / "a.npz", samples, labels=labels)
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["arr_0"], LEVELS)
        np.testing.assert_array_equal(file["arr_1"], labels)
        assert file["arr_0"].dtype == np.uint8 and file["arr_1"].dtype == np.int32
    plotting.export(tmp_path / "a.png", samples, metadata={"seed": "3"})
    with Image.open(tmp_path / "a.png") as back:
        np.testing.assert_array_equal(np.asarray(back), plotting.image_grid(LEVELS))
        assert back.text == {"seed": "3"}
    plotting.export(tmp_path / "folder", samples)
    assert sorted(os.listdir(tmp_path / "folder")) == [f"{i:05d}.png" for i in range(5)]
    with Image.open(tmp_path / "folder" / "00003.png") as back:
        np.testing.assert_array_equal(np.asarray(back), LEVELS[3])


def test_the_denoising_begins_with_pure_noise(tmp_path):
    # 2 steps, 3 states; flat grey levels survive a GIF's palette.
    states = np.broadcast_to(np.array([-1.0, 0.2, 1.0]).reshape(3, 1, 1, 1, 1), (3, 4, 8, 8, 1))
    plotting.export(tmp_path / "a.gif", states[-1], trajectory=states)
    with Image.open(tmp_path / "a.gif") as back:
        assert back.n_frames == 3
        middles = []
        for i in range(3):
            back.seek(i)
            middles.append(int(np.median(np.asarray(back.convert("L")))))
    assert middles == [0, 153, 255]


@pytest.mark.parametrize("states, frames", [(6, 6), (101, 60)])
def test_vectors_are_titled_by_their_times(tmp_path, states, frames, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        "diffax.plotting.output.scatter_gif",
        lambda path, clouds, titles: shown.update(clouds=clouds, titles=titles),
    )
    trajectory = RNG.normal(size=(states, 50, 2))
    times = np.linspace(999, 0, states)
    plotting.export(tmp_path / "a.gif", trajectory[-1], trajectory=trajectory, times=times)
    assert len(shown["clouds"]) == len(shown["titles"]) == frames
    np.testing.assert_array_equal(shown["clouds"][0], trajectory[0])
    np.testing.assert_array_equal(shown["clouds"][-1], trajectory[-1])
    assert (shown["titles"][0], shown["titles"][-1]) == ("t = 999", "sample")
    plotting.export(tmp_path / "a.gif", trajectory[-1], trajectory=trajectory)
    assert (shown["titles"][0], shown["titles"][-1]) == ("step 0", f"step {states - 1}")
    with pytest.raises(
        ValueError, match=f"a time for each of {states} states, .* got {states - 1}"
    ):
        plotting.export(tmp_path / "a.gif", trajectory[-1], trajectory=trajectory, times=times[1:])


def test_vectors_by_every_ending(tmp_path):
    plotting.export(tmp_path / "a.npz", VECTORS)
    with np.load(tmp_path / "a.npz") as file:
        assert file.files == ["arr_0"]
        np.testing.assert_array_equal(file["arr_0"], VECTORS.astype(np.float32))
    plotting.export(tmp_path / "a.png", VECTORS)
    with Image.open(tmp_path / "a.png") as back:
        assert back.size == (512, 512)
    states = np.stack([VECTORS * k for k in (1.0, 0.5)])
    plotting.export(tmp_path / "a.gif", states[-1], trajectory=states, times=[1.0, 0.0])
    with Image.open(tmp_path / "a.gif") as back:
        assert back.n_frames == 2
    with pytest.raises(ValueError, match="a folder takes images"):
        plotting.export(tmp_path / "folder", VECTORS)
    with pytest.raises(ValueError, match="expected the trajectory, got None"):
        plotting.export(tmp_path / "b.gif", VECTORS)


@pytest.mark.parametrize("shape", [(3, 4, 4, 4), (3, 2, 4, 4, 1), (3,)])
def test_other_numbers_only_as_arrays(tmp_path, shape):
    samples = RNG.normal(size=shape)
    plotting.export(tmp_path / "a.npz", samples)
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["arr_0"], samples.astype(np.float32))
    for name in ("b.png", "b.gif", "folder"):
        with pytest.raises(ValueError, match="give --out (the|an) ending.* .npz"):
            plotting.export(tmp_path / name, samples, trajectory=samples[None])
    assert os.listdir(tmp_path) == ["a.npz"]


def test_whole_numbers_stay_whole_and_half_ones_are_widened(tmp_path):
    plotting.export(tmp_path / "a.npz", np.array([[1, 2**30 + 1]]))
    with np.load(tmp_path / "a.npz") as file:
        assert file["arr_0"].tolist() == [[1, 2**30 + 1]]
    plotting.export(tmp_path / "a.npz", np.asarray(jnp.ones((2, 3), jnp.bfloat16)))
    with np.load(tmp_path / "a.npz") as file:
        assert file["arr_0"].dtype == np.float32


def test_latents_of_three_channels_are_no_images_where_that_is_said(tmp_path):
    latents = 5 * RNG.normal(size=(2, 4, 4, 3))
    plotting.export(tmp_path / "a.npz", latents, images=False)
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["arr_0"], latents.astype(np.float32))


def test_outputs_are_judged_beforehand_and_nothing_is_made(tmp_path):
    for name in ("a.png", "A.GIF", "new/folder/a.npz", "new/folder"):
        plotting.check_output(tmp_path / name, images=None)
        plotting.check_output(tmp_path / name, images=True)
    for name in ("a.png", "a.gif", "a.npz"):
        plotting.check_output(tmp_path / name, images=False)
    with pytest.raises(ValueError, match="a folder takes images, one PNG each"):
        plotting.check_output(tmp_path / "folder", images=False)
    with pytest.raises(ValueError, match="--out ends in '.jpg'; expected .png"):
        plotting.check_output(tmp_path / "a.jpg", images=True)
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_text("x")
    for name in ("file/a.png", "file/deep/folder", "file"):
        with pytest.raises(OSError, match="cannot write to .*file.*: Not a directory"):
            plotting.check_output(tmp_path / name, images=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write to .*: Permission denied"):
        plotting.check_output(tmp_path / "new" / "a.png", images=True)
    tmp_path.chmod(0o700)


def test_only_gifs_need_the_path():
    assert plotting.needs_trajectory("a.GIF") and not plotting.needs_trajectory("a.png")


class Numerals(codecs.Identity):
    """Data with files of their own."""

    kind = "numerals"
    endings = (".num",)

    def to_file(self, data, ending):
        return b"\n".join(b" ".join(b"%d" % n for n in row) for row in data)


def test_data_with_files_of_their_own(tmp_path, monkeypatch):
    codec, data = Numerals(), np.array([[1, 2], [3, 4]])
    plotting.check_output(tmp_path / "a.num", images=False, codec=codec)
    plotting.export(tmp_path / "a.num", data, codec=codec)
    assert (tmp_path / "a.num").read_bytes() == b"1 2\n3 4"
    plotting.check_output(tmp_path / "folder", images=False, codec=codec)
    plotting.export(tmp_path / "folder", data, codec=codec)
    assert (tmp_path / "folder" / "00001.num").read_bytes() == b"3 4"
    with pytest.raises(ValueError, match=r"ends in '.wav'.*\.num of its numerals"):
        plotting.check_output(tmp_path / "a.wav", images=False, codec=codec)
    assert plotting.drawn(data, codec) is None
    with pytest.raises(
        ValueError, match=r"nobody can look at numerals: give --out an ending, \.num"
    ):
        plotting.export(tmp_path / "a.png", data, codec=codec)
    monkeypatch.setitem(plotting.DRAWN, "numerals", lambda codec, data: np.zeros((4, 4, 1)))
    plotting.export(tmp_path / "a.png", data, codec=codec)
    plotting.export(tmp_path / "a.gif", data, codec=codec, trajectory=data[None])
    assert (tmp_path / "a.png").exists() and (tmp_path / "a.gif").exists()
