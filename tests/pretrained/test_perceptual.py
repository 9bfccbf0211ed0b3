"""LPIPS from the files that people have: torchvision's VGG-16 and the lpips package's heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from diffax.models.lpips import LEVELS, LPIPSNetwork
from diffax.pretrained import LPIPS, perceptual

NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
NARROW = ((4, 4), (5, 5), (6, 6, 6), (6, 6, 6), (6, 6, 6))  # VGG-16 with few channels
IMAGES = np.random.default_rng(1).uniform(-1, 1, (2, 2, 33, 32, 3)).astype(np.float32)


def tensors(levels=NARROW) -> tuple[dict, dict]:
    """VGG's tensors in torchvision's layout, and the heads, both random."""
    rng = np.random.default_rng(0)
    features, heads, before, numbers = {}, {}, 3, iter(NUMBERS)
    for i, widths in enumerate(levels):
        for width in widths:
            name = f"features.{next(numbers)}"
            kernel = rng.normal(size=(width, before, 3, 3)) / np.sqrt(9 * before / 2)
            features[f"{name}.weight"] = kernel.astype(np.float32)
            features[f"{name}.bias"] = rng.normal(size=width).astype(np.float32) / 10
            before = width
        head = rng.uniform(size=(1, widths[-1], 1, 1))
        heads[f"lin{i}.model.1.weight"] = head.astype(np.float32)
    return features | {"classifier.0.bias": np.zeros(3, np.float32)}, heads


@pytest.fixture
def narrow(monkeypatch, tmp_path):
    """Files of a narrow VGG-16: (features, heads)."""
    monkeypatch.setattr(perceptual, "LEVELS", NARROW)
    paths = tmp_path / "vgg16.safetensors", tmp_path / "heads.safetensors"
    for path, content in zip(paths, tensors(), strict=True):
        save_file(content, path)
    return tuple(map(str, paths))


def by_hand(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The paper's eq. 1, in float64, convolutions as sums over shifts."""
    features, heads = tensors()
    x = np.concatenate([a, b]).astype(np.float64)
    x = (x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    total, numbers = np.zeros(len(a)), iter(NUMBERS)
    for i, widths in enumerate(NARROW):
        if i:
            height, width = (n // 2 * 2 for n in x.shape[1:3])
            x = x[:, :height, :width]
            x = x.reshape(len(x), height // 2, 2, width // 2, 2, -1).max((2, 4))
        for _ in widths:
            name = f"features.{next(numbers)}"
            kernel = features[f"{name}.weight"]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            height, width = x.shape[1:3]
            x = sum(
                padded[:, r : r + height, c : c + width] @ kernel[:, :, r, c].T
                for r in range(3)
                for c in range(3)
            )
            x = np.maximum(x + features[f"{name}.bias"], 0)
        unit = x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)
        difference = (unit[: len(a)] - unit[len(a) :]) ** 2
        weighed = (difference * heads[f"lin{i}.model.1.weight"].reshape(-1)).sum(-1)
        total += weighed.mean((1, 2))
    return total


def test_the_distance_is_the_papers(narrow):
    params = LPIPS(path=narrow[0], heads=narrow[1]).open()
    a, b = IMAGES
    got = jax.jit(LPIPSNetwork(NARROW).apply)(params, a, b)
    np.testing.assert_allclose(got, by_hand(a, b), rtol=1e-4)
    assert float(jnp.max(got)) > 0.01


@pytest.mark.parametrize("name", ["net.slice{level}.{number}", "slice{level}.{number}"])
def test_other_layouts_give_the_same(narrow, tmp_path, name):
    features, heads = tensors()
    levels = iter(level + 1 for level, widths in enumerate(NARROW) for _ in widths)
    whole = dict(heads)
    for number in NUMBERS:
        new = name.format(level=next(levels), number=number)
        whole |= {f"{new}.{k}": features[f"features.{number}.{k}"] for k in ("weight", "bias")}
    save_file(whole, tmp_path / "lpips.safetensors")
    other = LPIPS(path=str(tmp_path / "lpips.safetensors")).open()
    mine = LPIPS(path=narrow[0], heads=narrow[1]).open()
    jax.tree.map(np.testing.assert_array_equal, other, mine)


def test_vgg_16_has_its_published_size():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(LPIPSNetwork(LEVELS).init, jax.random.key(0), image, image)
    sizes = {name: part for name, part in shapes["params"].items() if name.startswith("conv")}
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(sizes))
    assert count == 14_714_688  # torchvision's vgg16().features


@pytest.mark.parametrize("change, words", [
    (lambda f, h: ({}, h), "no tensor features.0.weight; it does not hold VGG-16's"),
    (lambda f, h: (f, {}), "no tensor lin0.model.1.weight.*give perceptual.heads"),
    (lambda f, h: (f | {"features.0.bias": np.zeros(9, np.float32)}, h), "should be .4., got .9."),
])  # fmt: skip
def test_other_files_are_one_line(narrow, tmp_path, change, words):
    other = np.zeros(1, np.float32)
    for name, content in zip(("a", "b"), change(*tensors()), strict=True):
        save_file({"other": other, **content}, tmp_path / f"{name}.safetensors")
    files = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b")]
    with pytest.raises(ValueError, match=words):
        LPIPS(path=files[0], heads=files[1]).open()


def test_without_a_file_it_says_what_to_do():
    with pytest.raises(FileNotFoundError, match="perceptual gradients"):
        LPIPS().open()
    with pytest.raises(ValueError, match="perceptual.weight"):
        LPIPS(weight=-1.0)
