"""One code path for one device and for many: the same losses, the same noise, less memory each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import many_devices
import numpy as np
import pytest
import tiny_run

from diffax.training import devices
from diffax.training.setup import next_boundary, stack_of


def with_devices(count: int, *arguments: str) -> None:
    """Runs many_devices.py on so many simulated devices."""
    flags = os.environ.get("XLA_FLAGS", "")  # compiled as in this process, to compare with it
    flags += f" --xla_force_host_platform_device_count={count}"
    env = os.environ | {"XLA_FLAGS": flags}
    script = Path(many_devices.__file__)
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def losses(workdir: Path) -> np.ndarray:
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return np.array([row["loss"] for row in rows])


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """A run on one device: (folder, losses)."""
    workdir = tmp_path_factory.mktemp("one")
    assert tiny_run.run(workdir, many_devices.wide_config()) == 0
    return workdir, losses(workdir)


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    """The folder of everything that eight devices did, the state cut in eight."""
    folder = tmp_path_factory.mktemp("eight")
    with_devices(8, "everything", folder, 8)
    return folder


def test_eight_devices_agree_with_one_and_hand_over(eight_devices, one_device):
    _, expected = one_device
    workdir = eight_devices / "run"
    # Sums in another order: rounding, which ten steps of training let grow a little.
    np.testing.assert_allclose(losses(workdir), expected, rtol=1e-5)
    # What eight devices saved, cut in eight, goes on on one.
    assert tiny_run.run(workdir, many_devices.wide_config(steps=12)) == 0
    assert losses(workdir).shape == (12,)


@pytest.mark.slow
@pytest.mark.parametrize("count, fsdp", [(8, 1), (8, 2), (8, 4), (2, 2), (4, 1)])
def test_other_meshes_agree_too(tmp_path, one_device, count, fsdp):
    _, expected = one_device
    with_devices(count, "train", tmp_path, json.dumps({"fsdp": fsdp}))
    np.testing.assert_allclose(losses(tmp_path), expected, rtol=1e-5)


@pytest.mark.slow
def test_a_checkpoint_moves_between_device_counts(tmp_path):
    one = tmp_path / "one"
    assert tiny_run.run(one, many_devices.wide_config(steps=15)) == 0
    for path in ((8, 2, 1), (8, 1, 4), (1, 8, 2)):
        workdir = tmp_path / "-".join(map(str, path))
        for count, steps in zip(path, (5, 10, 15), strict=True):
            # The cosine's length is the same for all: only where the run stops differs.
            changes = {"fsdp": count, "steps": 15, "save_every": 5}
            if steps < 15:
                with_devices(count, "train_until", workdir, json.dumps(changes), steps)
            else:
                with_devices(count, "train", workdir, json.dumps(changes))
        np.testing.assert_allclose(losses(workdir), losses(one), rtol=2e-5)


def test_noise_and_batches_do_not_depend_on_the_devices(tmp_path, eight_devices):
    many_devices.noise(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as one, np.load(eight_devices / "noise.npz") as eight:
        assert sorted(one) == ["noise", "x"]
        for name in one:
            np.testing.assert_array_equal(one[name], eight[name])


def test_a_fully_sharded_state_takes_its_share_of_memory(eight_devices):
    sizes = json.loads((eight_devices / "sizes.json").read_text())
    share = sizes["total"] / sizes["devices"]
    assert share <= sizes["here"] <= 1.1 * share


def test_what_devices_cannot_share_is_refused():
    mesh = devices.make_mesh()
    devices.check_batch(6, 3, mesh)
    with pytest.raises(ValueError, match="use a multiple of 3"):
        devices.check_batch(8, 3, mesh)
    with pytest.raises(ValueError, match="does not divide the 1 devices"):
        devices.make_mesh(2)


def test_calls_end_wherever_something_is_due():
    config = tiny_run.tiny_config(steps=21, steps_per_call=10, log_every=4, save_every=5)
    ends, step = [], 0
    while step < 21:
        step = next_boundary(step, config)
        ends.append(step)
    assert ends == [4, 5, 8, 10, 12, 15, 16, 20, 21]
    assert stack_of(config) == 4


def test_state_places_by_shape():
    mesh = jax.make_mesh((1, 1), ("data", "fsdp"))
    places = devices.state_shardings({"a": jax.ShapeDtypeStruct((3, 3, 64, 128), "float32")}, mesh)
    assert places["a"].is_fully_replicated
