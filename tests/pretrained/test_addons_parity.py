"""Live exchange of add-ons with diffusers and PEFT: their files here, our files there."""

import sys
from pathlib import Path

import pytest
import tiny_models as tiny
import tiny_pipelines

torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
pytest.importorskip("diffusers", reason="the parity extra (diffusers) is not installed")
pytest.importorskip("transformers", reason="the parity extra (transformers) is not installed")
sys.path.insert(0, str(Path(__file__).parents[1] / "golden/pretrained"))

import make_addons  # noqa: E402
import test_addons  # noqa: E402
from test_parity import same  # noqa: E402

from diffax.pretrained import load_network, save_network  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", list(tiny.ADDONS))
def test_networks_both_ways(name, tmp_path):
    """save_pretrained -> load -> save -> from_pretrained: identical tensors."""
    theirs = make_addons.make_pipelines.network(tiny.ADDONS[name])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_network(tmp_path / "theirs")
    same(ours.params, tiny_pipelines.network(tiny.ADDONS[name]).params)
    save_network(ours, tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours").state_dict()
    assert again.keys() == theirs.state_dict().keys()
    assert all(torch.equal(again[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("cases", ["control_cases", "image_encoder_cases"])
def test_the_stored_images_are_diffusers(cases):
    """What is compared by default is what the installed reference makes."""
    for name, image in getattr(make_addons, cases)().items():
        test_addons.close(image, name)
