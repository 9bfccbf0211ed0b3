"""Full-size models, by shapes only: names and shapes of both published layouts, one to one."""

import gzip
import json
import math
from pathlib import Path

import pytest

from diffax.pretrained import families, filling, naming, original
from diffax.pretrained.configs import module_from_config, parameter_shapes
from diffax.pretrained.weights import Subset, Tensors

KEY_LISTS = json.loads(
    gzip.decompress(
        (Path(__file__).parents[1] / "golden/pretrained/key_lists.json.gz").read_bytes()
    )
)

COUNTS = {
    "sd1 unet": 859_520_964,
    "sd2 unet": 865_910_724,
    "sdxl unet": 2_567_463_684,
    "sd1 vae": 83_653_863,
    "sd1 text_encoder": 123_060_480,
}

# The other components are one of these.
MODELS = [
    "sd1 unet",
    "sd2 unet",
    pytest.param("sdxl unet", marks=pytest.mark.slow),
    pytest.param("sdxl-refiner unet", marks=pytest.mark.slow),
    "sd1 vae",
    "sd1 text_encoder",
    "sd2 text_encoder",
    "sdxl text_encoder_2",
]


class Listing(Tensors):
    """A file of which only names and shapes are known."""

    def __init__(self, shapes):
        super().__init__(shapes)
        self._shapes = shapes

    def __getitem__(self, name):
        raise AssertionError(f"{name} was read")

    def shape(self, name):
        return tuple(self._shapes[name])

    def __iter__(self):
        return iter(self._shapes)

    def __len__(self):
        return len(self._shapes)


@pytest.fixture(scope="module")
def module_of():
    modules = {}

    def get(name):
        if name not in modules:
            family, component = name.split(" ")
            module = module_from_config(families.FAMILIES[family][component])
            modules[name] = module, parameter_shapes(module)
        return modules[name]

    return get


@pytest.mark.parametrize("name", MODELS)
def test_diffusers_layout(name, module_of):
    _, shapes = module_of(name)
    ours = {
        key: naming.published_shape(leaf, tuple(value.shape))
        for key, (leaf, value) in filling.leaves(shapes).items()
    }
    published = {key: tuple(shape) for key, shape in KEY_LISTS["diffusers"][name].items()}
    found = {naming.find(key, published): shape for key, shape in ours.items()}
    assert found == published
    if name in COUNTS:
        assert sum(math.prod(shape) for shape in ours.values()) == COUNTS[name]


@pytest.mark.parametrize(
    "name, listing, locator",
    [
        ("sd1 unet", "sd1 unet", original.unet_locator),
        ("sd2 unet", "sd2 unet", original.unet_locator),
        pytest.param("sdxl unet", "sdxl unet", original.unet_locator, marks=pytest.mark.slow),
        pytest.param(
            "sdxl-refiner unet",
            "sdxl-refiner unet",
            original.unet_locator,
            marks=pytest.mark.slow,
        ),
        ("sd1 vae", "vae", original.autoencoder_locator),
        ("sd1 text_encoder", "sd1 text_encoder", original.clip_locator),
        ("sd2 text_encoder", "sd2 text_encoder", original.openclip_locator),
        ("sdxl text_encoder_2", "sdxl text_encoder_2", original.openclip_locator),
    ],
)
def test_original_layout(name, listing, locator, module_of):
    module, shapes = module_of(name)
    tensors = Listing(KEY_LISTS["original"][listing])
    prefix = next(
        p for ps in original.PREFIXES.values() for p in ps if next(iter(tensors)).startswith(p)
    )
    # Raises where a key is missing, mis-shaped or left over; a tensor may be used only once.
    used = filling.checked_sources(
        shapes, Subset(tensors, prefix), locator(module), original.LEFTOVER
    )
    places = [(s.key, s.part) for s in used.values()]
    assert len(set(places)) == len(places)
    parts = [s.key for s in used.values() if s.part]
    assert all(parts.count(key) == 3 for key in set(parts))


def test_moving_averages_are_found(module_of):
    module, shapes = module_of("sd1 unet")
    sources = filling.checked_sources(
        shapes,
        Subset(Listing(KEY_LISTS["original"]["sd1 unet"]), "model.diffusion_model."),
        original.unet_locator(module),
    )
    averages = set(KEY_LISTS["original"]["sd1 moving average"])
    assert {original.ema_key(s.key) for s in sources.values()} == averages
