"""A `.ckpt` gives its tensors and runs nothing."""

import os
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tiny_models

from diffax.pretrained.pickled import PickledCheckpoint

GOLDEN = Path(__file__).parents[1] / "golden/pretrained"
CKPT = GOLDEN / "tiny.ckpt"
LEGACY = GOLDEN / "tiny_legacy.pth"


def formula(name, *shape):
    return tiny_models.weight(name, shape)


@pytest.mark.parametrize("file", [CKPT, LEGACY])
def test_tensors_of_a_real_checkpoint(file):
    tensors = PickledCheckpoint(file)
    expected = {
        "plain": formula("plain", 3, 2),
        "half": formula("half", 5).astype(np.float16),
        "bfloat": formula("bfloat", 5).astype(ml_dtypes.bfloat16),
        "transposed": formula("transposed", 4, 3).T,
        "whole": formula("whole", 6, 4),
        "lower": formula("whole", 6, 4)[3:],
        "scalar": np.array(7),
        "parameter": formula("parameter", 2, 2),
    }
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        assert tensors.shape(name) == value.shape
        assert tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(tensors[name], value)


def archive(path, content, entries=()):
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("archive/data.pkl", content)
        for name, data in entries:
            out.writestr(name, data)
    return path


class Runs:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path, protocol):
    target = tmp_path / "was_run"
    content = pickle.dumps({"state_dict": Runs(target)}, protocol)
    file = archive(tmp_path / "evil.ckpt", content)
    with pytest.raises(ValueError, match=r"refused to unpickle: it refers to \w+\.mkdir"):
        PickledCheckpoint(file)
    assert not target.exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "builtins getattr", "torch load", "numpy load", "os system"]
)
def test_no_other_name_is_known(tmp_path, name):
    content = f"c{name.replace(' ', chr(10))}\n(S'1'\ntR.".encode()
    with pytest.raises(ValueError, match=f"it refers to {name.replace(' ', '.')}"):
        PickledCheckpoint(archive(tmp_path / "evil.ckpt", content))


def stored(shape, strides, offset=0, key="0", storage="FloatStorage"):
    """A pickle of one tensor, by hand."""
    numbers = "".join(f"I{n}\n" for n in shape), "".join(f"I{n}\n" for n in strides)
    return (
        "(dS'weight'\nctorch._utils\n_rebuild_tensor_v2\n("
        f"(S'storage'\nctorch\n{storage}\nS'{key}'\nS'cpu'\nI4\ntQ"
        f"I{offset}\n({numbers[0]}t({numbers[1]}ttRs."
    ).encode()


def test_a_tensor_by_hand(tmp_path):
    data = np.arange(4, dtype=np.float32)
    file = archive(tmp_path / "a.ckpt", stored((2, 2), (2, 1)), [("archive/data/0", data)])
    np.testing.assert_array_equal(PickledCheckpoint(file)["weight"], data.reshape(2, 2))


@pytest.mark.parametrize(
    "tampered",
    [
        stored((2, 3), (3, 1)),
        stored((2, 2), (2, 1), offset=1),
        stored((2, 2), (-2, 1)),
        stored((2, 2), (2, 1), offset=-1),
        stored((2, 2), (1000000000, 1)),
        stored((4,), (1, 1)),
    ],
)
def test_windows_outside_the_data(tmp_path, tampered):
    data = np.arange(4, dtype=np.float32)
    file = archive(tmp_path / "a.ckpt", tampered, [("archive/data/0", data)])
    with pytest.raises(ValueError, match="'weight' reaches outside its data"):
        PickledCheckpoint(file)


def test_missing_data(tmp_path):
    with pytest.raises(ValueError, match="'weight' has no data in the archive"):
        PickledCheckpoint(archive(tmp_path / "a.ckpt", stored((2,), (1,), key="7")))


def test_damaged_files(tmp_path):
    whole = CKPT.read_bytes()
    file = tmp_path / "a.ckpt"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a complete checkpoint archive"):
        PickledCheckpoint(file)
    data = formula("plain", 3, 2).tobytes()
    file.write_bytes(whole.replace(data, data[:-1] + bytes([data[-1] ^ 1])))
    tensors = PickledCheckpoint(file)
    with pytest.raises(ValueError, match="'plain' is damaged"):
        tensors["plain"]
    with pytest.raises(FileNotFoundError):
        PickledCheckpoint(tmp_path / "nowhere.ckpt")


def test_files_without_tensors(tmp_path):
    with pytest.raises(ValueError, match="expected a table of tensors, got list"):
        PickledCheckpoint(archive(tmp_path / "a.ckpt", pickle.dumps([1], 2)))
    with pytest.raises(ValueError, match="no tensors in it"):
        PickledCheckpoint(archive(tmp_path / "a.ckpt", pickle.dumps({"a": 1}, 2)))


def test_a_file_cannot_change_what_the_next_one_reads(tmp_path):
    # BUILD on a storage type: an attempt to turn all later float tensors into bytes.
    content = b"ctorch\nFloatStorage\n(dS'dtype'\nctorch\nByteStorage\nsb."
    with pytest.raises(ValueError):
        PickledCheckpoint(archive(tmp_path / "evil.ckpt", content))
    data = np.arange(4, dtype=np.float32)
    file = archive(tmp_path / "a.ckpt", stored((4,), (1,)), [("archive/data/0", data)])
    np.testing.assert_array_equal(PickledCheckpoint(file)["weight"], data)


def test_a_table_that_contains_itself(tmp_path):
    table = {"x": 1}
    table["state_dict"] = table
    with pytest.raises(ValueError, match="its state_dict contains itself"):
        PickledCheckpoint(archive(tmp_path / "a.ckpt", pickle.dumps(table, 2)))
    outer, inner = {}, {}
    outer["state_dict"], inner["state_dict"] = inner, outer
    with pytest.raises(ValueError, match="its state_dict contains itself"):
        PickledCheckpoint(archive(tmp_path / "b.ckpt", pickle.dumps(outer, 2)))


def legacy(path, *contents, data=b""):
    """A file as it was before PyTorch 1.6: pickles one after the other, then the data."""
    magic, machine = 0x1950A86A20F9469CFC6C, {"little_endian": True}
    head = [pickle.dumps(part, 2) for part in (magic, 1001, machine)]
    path.write_bytes(b"".join([*head, *contents, data]))
    return path


def test_code_in_an_older_file_is_refused_and_not_run(tmp_path):
    target = tmp_path / "was_run"
    file = legacy(tmp_path / "evil.pth", pickle.dumps(Runs(target), 2))
    with pytest.raises(ValueError, match=r"refused to unpickle: it refers to \w+\.mkdir"):
        PickledCheckpoint(file)
    assert not target.exists()


@pytest.mark.parametrize(
    "numbers, data, message",
    [
        (4, np.arange(4, dtype=np.float32), None),
        (4, np.arange(3, dtype=np.float32), "storage '0' is cut off"),
        (2**62, np.arange(4, dtype=np.float32), "storage '0' is cut off"),
        (2, np.arange(2, dtype=np.float32), "'weight' reaches outside its data"),
    ],
)
def test_older_files_by_hand(tmp_path, numbers, data, message):
    data = numbers.to_bytes(8, "little") + data.tobytes()
    table = stored((2, 2), (2, 1))
    file = legacy(tmp_path / "a.pth", table, pickle.dumps(["0"], 2), data=data)
    if message is None:
        np.testing.assert_array_equal(PickledCheckpoint(file)["weight"], [[0, 1], [2, 3]])
    else:
        with pytest.raises(ValueError, match=message):
            PickledCheckpoint(file)


def test_older_files_of_another_kind(tmp_path):
    whole = LEGACY.read_bytes()
    for old, new, message in (
        (b"M\xe9\x03.", b"M\xea\x03.", "expected version 1001"),
        (b"little_endianq\x02\x88", b"little_endianq\x02\x89", "big-endian"),
    ):
        assert old in whole
        file = tmp_path / "a.pth"
        file.write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match=message):
            PickledCheckpoint(file)
