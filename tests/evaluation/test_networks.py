"""Feature networks: the reference's numbers, files, batches, and what is refused."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from drawn_inception import SIZES, image, weight

from diffax.evaluation import networks
from diffax.evaluation.features import feature_network, features_of
from diffax.evaluation.networks import Inception, ResNet20
from diffax.models import CIFARResNet, FIDInception
from diffax.models.inception import prepared
from diffax.pretrained.filling import leaves

GOLDEN = Path(__file__).parents[1] / "golden/evaluation"
EVERY = 8  # of features and logits, in the golden file


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "inception.npz"))


@pytest.fixture(scope="module")
def file(golden, tmp_path_factory):
    """The formula's weights under the names of the reference."""
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    names = {line.split()[0]: tuple(map(int, line.split()[1:])) for line in golden["names"]}
    safetensors.numpy.save_file({n: weight(n, shape) for n, shape in names.items()}, path)
    return path


def resized(grid):
    return jnp.concatenate([prepared(jnp.asarray(image(*size)), grid) for size in SIZES])


@pytest.mark.parametrize("grid", ["tensorflow", "pytorch"])
def test_images_are_resized_as_the_references_do(golden, grid):
    # TensorFlow's to the last bit; PyTorch computes the places of pixels with other roundings.
    tolerance = 0 if grid == "tensorflow" else 1e-5
    expected = golden[f"resized_{grid}"]
    np.testing.assert_allclose(resized(grid)[:, ::23, ::23], expected, rtol=0, atol=tolerance)


def test_inception_gives_the_references_features(golden, file):
    """With the same random weights, on a small and a large image; float32 sums differ by 1e-6."""
    params = Inception(path=str(file), own=True).load().network.params
    chosen = np.array([0, 3])

    @jax.jit
    def trunk(params, x):
        return FIDInception(biased=True).apply(params, x, method="trunk")

    def agree(ours, name):
        expected = golden[name][chosen]
        assert np.abs(ours[:, ::EVERY] - expected).max() < 1e-5 * np.abs(expected).max()

    x = jnp.concatenate([resized(grid)[chosen] for grid in ("tensorflow", "pytorch")])
    pooled, logits = trunk(params, x)
    agree(pooled[:2], "pooled_tensorflow")
    agree(pooled[2:], "pooled_pytorch")
    agree(logits[:2], "logits")
    agree(logits[:2] - params["params"]["fc"]["bias"][None], "unbiased")


@pytest.mark.parity
def test_inception_and_the_references_live(tmp_path):
    """All features and logits, through the public door, from a file as PyTorch once wrote it."""
    torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    for name in ("torchvision", "torch_fidelity", "pytorch_fid"):
        pytest.importorskip(name, reason=f"the parity extra ({name}) is not installed")
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make_inception.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    state = make.state_dict()
    expected = make.reference(state)
    path = tmp_path / "inception.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    for grid in ("tensorflow", "pytorch"):
        network = Inception(path=str(path), own=True, grid=grid, batch_size=1).load()
        for i, size in enumerate(SIZES):
            ours = network(image(*size))
            for name, value in ((f"pooled_{grid}", ours.pooled), ("unbiased", ours.logits)):
                if name in expected and (name != "unbiased" or grid == "tensorflow"):
                    reference = expected[name][i]
                    assert np.abs(value[0] - reference).max() < 1e-5 * np.abs(reference).max()


# ---------------------------------------------------------------- any network


@pytest.fixture(scope="module")
def tiny():
    """A network, and 23 images."""
    module = CIFARResNet(blocks=1)
    images = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3)).astype(np.uint8)
    params = jax.jit(module.init)(jax.random.key(0), images[:1])
    return module, params, images


def test_features_do_not_depend_on_the_batch_size(tiny):
    module, params, images = tiny
    one = feature_network("tiny", module, params, batch_size=4)(images)
    other = feature_network("tiny", module, params, batch_size=16)
    again = features_of(other, [images[:5], images[5:]])
    assert one.pooled.shape == (23, 64) and one.pooled.dtype == np.float32
    for a, b in zip(one, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_floating_point_images_count_as_8_bits(tiny):
    module, params, images = tiny
    network = feature_network("tiny", module, params)
    floats = images.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(network(images).pooled, network(floats).pooled)


def test_a_fingerprint_knows_weights_and_fields(tiny):
    module, params, _ = tiny
    prints = {
        feature_network("a", module, params).fingerprint,
        feature_network("a", module, jax.tree.map(lambda p: p + 1, params)).fingerprint,
        feature_network("a", module.clone(mean=(0.5, 0.5, 0.5)), params).fingerprint,
    }
    assert len(prints) == 3
    same = feature_network("b", module, params, batch_size=7).fingerprint
    assert same in prints  # neither the name nor the batch size is part of it


@pytest.mark.parametrize(
    "examples, message",
    [
        (np.zeros((2, 8, 8), np.uint8), r"expected images \[B, H, W, C\] or vectors"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"got shape \[0, 8, 8, 3\]"),
        (np.zeros((2, 8, 8, 3), np.int64), "expected uint8 images or floating-point numbers"),
        (np.full((2, 8, 8, 3), np.nan), "2 of 2 examples hold NaN or infinity, the first .* 0"),
        (np.zeros((2, 8, 8, 1), np.uint8), r"expected images \[B, H, W, 3\]"),
    ],
)
def test_what_is_refused(tiny, examples, message):
    network = feature_network("tiny", *tiny[:2])
    with pytest.raises(ValueError, match=message) as error:
        network(examples)
    assert "\n" not in str(error.value)


def test_no_batch_is_refused(tiny):
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        feature_network("tiny", *tiny[:2], batch_size=0)


# ---------------------------------------------------------------- files


def test_missing_inception_weights(monkeypatch):
    monkeypatch.delenv(networks.INCEPTION_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=r"download https://\S+6726825d.pth") as error:
        Inception().load()
    assert "\n" not in str(error.value)
    monkeypatch.setenv(networks.INCEPTION_VARIABLE, "/nowhere.pth")
    with pytest.raises(FileNotFoundError, match="no Inception weights at /nowhere.pth"):
        Inception().load()


def test_a_wrong_checksum(tmp_path, monkeypatch):
    path = tmp_path / networks.INCEPTION_FILE
    path.write_bytes(b"abc")
    monkeypatch.setenv(networks.INCEPTION_VARIABLE, str(path))
    with pytest.raises(ValueError, match=r"with SHA-256 6726825d\.\.\., got ba7816bf\.\.\."):
        Inception().load()


def test_missing_and_foreign_files_of_a_cifar_network(tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match="give their file as --features.path"):
        ResNet20().load()
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(1, np.float32)}, path)
    with pytest.raises(ValueError, match="the tensors do not fit the network"):
        ResNet20(path=str(path)).load()


@pytest.mark.parity
def test_the_cifar_network_and_torchs_live(tiny, tmp_path):
    """Its blocks written down once more with torch's functions, and random statistics."""
    torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    f = torch.nn.functional
    _, params, images = tiny
    names = {key: value.shape for key, (_, value) in leaves(params).items()}
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}  # OIHW, and [out, in]
    state = {
        name: weight(name, tuple(np.array(shape)[list(axes.get(len(shape), (0,)))]))
        for name, shape in names.items()
    }
    path = tmp_path / "network.safetensors"
    safetensors.numpy.save_file(state, path)
    w = {name: torch.from_numpy(value) for name, value in state.items()}

    def norm(h, name):
        ends = ("running_mean", "running_var", "weight", "bias")
        return f.batch_norm(h, *(w[f"{name}.{end}"] for end in ends))

    x = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).float() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    h = f.relu(norm(f.conv2d((x - mean) / std, w["conv1.weight"], padding=1), "bn1"))
    for level, stride in ((1, 1), (2, 2), (3, 2)):
        name = f"layer{level}.0"
        inner = f.conv2d(h, w[f"{name}.conv1.weight"], stride=stride, padding=1)
        inner = f.conv2d(f.relu(norm(inner, f"{name}.bn1")), w[f"{name}.conv2.weight"], padding=1)
        new = inner.shape[1] - h.shape[1]
        short = f.pad(h[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new // 2))
        h = f.relu(norm(inner, f"{name}.bn2") + short)
    pooled = h.mean(dim=(2, 3))
    logits = f.linear(pooled, w["linear.weight"], w["linear.bias"])
    ours = ResNet20(path=str(path), blocks=1).load()(images)
    for value, expected in ((ours.pooled, pooled), (ours.logits, logits)):
        np.testing.assert_allclose(value, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
def test_features_do_not_depend_on_the_device_count(tiny, tmp_path):
    """23 images on four simulated devices, in batches of 8."""
    module, params, images = tiny
    np.savez(tmp_path / "in.npz", images=images, **flat(params))
    program = tmp_path / "many.py"
    program.write_text(MANY_DEVICES)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags}
    subprocess.run([sys.executable, str(program), str(tmp_path)], env=env, check=True, timeout=300)
    many = np.load(tmp_path / "out.npz")
    one = feature_network("tiny", module, params)(images)
    np.testing.assert_allclose(many["pooled"], one.pooled, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(many["logits"], one.logits, rtol=1e-6, atol=1e-6)


def flat(params):
    return {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(params))}


MANY_DEVICES = """
import sys
import jax
import numpy as np
from diffax.evaluation import feature_network
from diffax.models import CIFARResNet

assert jax.device_count() == 4
folder, module = sys.argv[1], CIFARResNet(blocks=1)
given = np.load(folder + "/in.npz")
shapes = jax.eval_shape(module.init, jax.random.key(0), given["images"][:1])
leaves = [given[f"leaf{i}"] for i in range(len(jax.tree.leaves(shapes)))]
params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
network = feature_network("tiny", module, params, batch_size=8)
features = network(given["images"])
np.savez(folder + "/out.npz", pooled=features.pooled, logits=features.logits)
"""


@pytest.mark.slow
def test_the_cifar_network_knows_cifar():
    """Of the whole test set 91.73 %; of the first 1,000 images about as many."""
    folder = os.environ.get("DIFFAX_TEST_DATA")
    if folder is None:
        pytest.skip("DIFFAX_TEST_DATA, the folder with the shared data, is not set")
    from diffax.data import TFDS

    network = ResNet20(path=f"{folder}/weights/cifar10_resnet20.safetensors").load()
    data = TFDS(name="cifar10", dir=f"{folder}/tfds", split="test[:1000]").load().arrays()
    accuracy = np.mean(network(data["x"]).logits.argmax(axis=1) == data["label"])
    assert accuracy == pytest.approx(0.92, abs=0.015)
