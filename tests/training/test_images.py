"""The images that a run leaves: as many frames and moments as were asked for."""

import numpy as np
from PIL import Image

from diffax import codecs, conditioning, parameterization, plotting, schedules
from diffax.data import Toy
from diffax.generation import Model, Sampling
from diffax.models import BoundModule, VectorMLP
from diffax.training import images


def test_frames_and_strip_are_as_asked(tmp_path, monkeypatch):
    shown = []
    strip = plotting.scatter_strip
    monkeypatch.setattr(
        plotting, "scatter_strip", lambda clouds, titles, **o: shown.append(titles) or strip(
            clouds, titles, **o
        ),
    )  # fmt: skip
    model = Model(
        network=BoundModule(VectorMLP(), {}),
        schedule=schedules.linear(100),
        parameterization=parameterization.Eps(),
        codec=codecs.Identity(),
        conditioner=conditioning.Nothing(),
        settings=Sampling(),
        shape=(2,),
    )
    images.forward_images(
        tmp_path, Toy(num=16).load(), model, num=8, frames=7, strip_times=(0.0, 5.0, 95.0)
    )
    with Image.open(tmp_path / "forward.gif") as gif:
        assert gif.n_frames == 7
    assert shown == [["t = 0", "t = 5", "t = 95"]]
    assert np.asarray(Image.open(tmp_path / "q_sample.png")).ndim == 3
