"""Time series in files, and the Gaussian process of which the best guess is known."""

import numpy as np
import pytest

from diffax.data import Oscillations, TimeSeries, oscillations
from diffax.data.time_series import read_series

SERIES = np.arange(20.0)[:, None] * [1, 10]


def load(path, **fields):
    return TimeSeries(dir=str(path), length=4, **fields).load()


def test_windows_of_both_splits(tmp_path):
    np.save(tmp_path / "a.npy", SERIES)
    train, test = (load(tmp_path / "a.npy", split=s, stride=2) for s in ("train", "test"))
    # 16 moments of training, 4 held out
    assert train.spec.size == 7 and test.spec.size == 1
    assert train.spec.shape == (4, 2) and train.spec.columns["x"].dtype == "float32"
    np.testing.assert_array_equal(train.arrays()["x"][1], SERIES[2:6])
    np.testing.assert_array_equal(test.arrays()["x"][0], SERIES[16:])
    assert train.spec.mean == test.spec.mean == (7.5, 75.0)
    np.testing.assert_allclose(test.spec.std, SERIES[:16].std(axis=0))


def test_csv_with_names_and_dates(tmp_path):
    rows = [f"2026-01-{i + 1:02d},{a},{b}" for i, (a, b) in enumerate(SERIES)]
    (tmp_path / "a.csv").write_text("\ufeffday,temperature,wind\n" + "\n".join(rows) + "\n")
    np.testing.assert_array_equal(
        load(tmp_path / "a.csv", leave_out=("day",), held_out=0.0).arrays()["x"][3], SERIES[3:7]
    )
    (tmp_path / "b.csv").write_text("\n".join(f"{a},{b}" for a, b in SERIES))
    assert load(tmp_path / "b.csv").spec.shape == (4, 2)
    np.save(tmp_path / "one.npy", SERIES[:, 0])
    assert load(tmp_path / "one.npy").spec.shape == (4, 1)


@pytest.mark.parametrize("text, fields, message", [
    ("a,b\n1,2\n3,\n", {}, r"line 3: expected 2 cells of finite numbers, got 2 cells, '' among"),
    ("a,b\n1,2\n3\n", {}, "line 3: expected 2 cells of finite numbers, got 1 cells"),
    ("a,b\n1,nan\n", {}, "line 2: .*'nan' among them; fill the gap"),
    ("a,b\n1,2\n", {"leave_out": ("c",)}, "data.leave_out: .* has no column 'c', it has a, b"),
    ("a,b\n", {}, "holds no numbers below its names"),
    ("", {}, "is empty"),
    ("1,2\n3,4\n", {}, "split train has 2 of 2 moments, fewer than data.length 4"),
])  # fmt: skip
def test_bad_csv(tmp_path, text, fields, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.csv", **fields)


def test_bad_files(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read as a .csv file of UTF-8"):
        load(tmp_path / "a.csv")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"expected a series of numbers \[T, C\].*\[2, 3, 4\]"):
        load(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.where(SERIES == 30, np.nan, SERIES))
    with pytest.raises(ValueError, match="expected finite numbers, row 3 has others"):
        load(tmp_path / "b.npy")
    (tmp_path / "a.txt").write_text("1 2")
    with pytest.raises(ValueError, match="expected a .npy or .csv file"):
        load(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "none.npy")
    for fields in (dict(stride=0), dict(held_out=1.0), dict(split="all"), dict(dir=None)):
        with pytest.raises(ValueError, match=r"data\.(stride|held_out|split|dir)"):
            TimeSeries(**fields).load()


def test_gaps_may_be_allowed(tmp_path):
    (tmp_path / "a.csv").write_text("1, \nNaN,4\n")
    np.save(tmp_path / "a.npy", [[1, np.nan], [np.nan, 4]])
    for name in ("a.csv", "a.npy"):
        np.testing.assert_array_equal(
            read_series(tmp_path / name, gaps=True), [[1, np.nan], [np.nan, 4]]
        )
    (tmp_path / "a.csv").write_text("day,a\nmonday,\n")
    with pytest.raises(ValueError, match="line 2: .*'monday' among them; leave the column out"):
        read_series(tmp_path / "a.csv", gaps=True)
    np.save(tmp_path / "a.npy", [np.inf, np.nan])
    with pytest.raises(ValueError, match="expected finite numbers, row 0 has others"):
        read_series(tmp_path / "a.npy", gaps=True)


def test_another_series_has_another_fingerprint(tmp_path):
    prints = set()
    for series in (SERIES, SERIES[::-1]):
        np.save(tmp_path / "a.npy", np.ascontiguousarray(series))
        prints |= {load(tmp_path / "a.npy", split=s).source.fingerprint for s in ("train", "test")}
    assert len(prints) == 2 and "" not in prints


def test_oscillations_have_their_covariance():
    process = Oscillations(num=20_000, length=8, period=6.0, memory=5.0)
    x = process.load().arrays()["x"].reshape(20_000, 16)
    law = oscillations.covariance(8, 6.0, 5.0)
    np.testing.assert_allclose(x.T @ x / 20_000, law, atol=0.04)  # 5 / sqrt(20,000)
    assert (np.diag(law) == 1).all()
    quarter = oscillations.covariance(8, 4.0, 1e9)[0].reshape(8, 2)
    # The second channel follows the first by a quarter of a period, here one moment.
    np.testing.assert_allclose(quarter[:3], [[1, 0], [0, 1], [-1, 0]], atol=1e-9)


def test_the_best_guess_is_the_conditional_mean():
    process = Oscillations(num=2000, length=12, period=6.0, memory=4.0, split="test")
    x = process.load().arrays()["x"]
    missing = np.zeros((12, 2), bool)
    missing[4:8] = True
    guess = oscillations.best_guess(np.where(missing, np.nan, x), missing, process)
    np.testing.assert_allclose(guess[:, ~missing], x[:, ~missing], atol=1e-6)
    error = (guess - x)[:, missing]
    # Orthogonal to all that is known, which makes it the best linear guess.
    overlap = error.T @ x[:, ~missing] / len(x)
    assert np.abs(overlap).max() < 5 * error.std() / np.sqrt(len(x))
    assert error.std() < 0.5
