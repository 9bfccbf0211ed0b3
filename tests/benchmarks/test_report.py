"""`python -m benchmarks`: what is made of measured times, and when they are no result."""

import subprocess
import sys

import pytest

from benchmarks.__main__ import Others, main
from benchmarks.cases import CASES
from benchmarks.report import plot, table, utilization


def found():
    def times(median):
        return {"median": median, "least": 0.9 * median, "most": 1.1 * median, "processor": median}

    case = {
        "title": "a network",
        "facts": {
            "diffax": {"device": "cpu", "jax": "1"},
            "torch": {"forward_flops": 2e9, "torch": "2", "diffusers": "3"},
        },
        "times": {
            "train": {"diffax": times(0.1), "torch": times(0.25)},
            "sample": {"diffax": times(2.0), "torch": times(1.0)},
        },
        "speed": {"train": 2.5, "sample": 0.5},
        "memory_gib": {"diffax": 1.0, "torch": 2.0},
        "ready_s": {"diffax": 6.0, "diffax, cached": 2.0, "torch": 4.0},
        "compile_s": 3.0,
        "compile_processor_s": 5.0,
        "cached_compile_s": 0.5,
        "ceiling_gflops": 120.0,
    }
    return {"date": "2026-01-01", "cores": 2, "foreign": 0.01, "cases": {"net": case}}


def test_a_step_is_three_passes_of_its_flops():
    case = found()["cases"]["net"]
    assert utilization(case, "train") == pytest.approx(3 * 2 / 0.1 / 120)
    assert utilization(case, "sample") is None


def test_table_and_plot(tmp_path):
    text = table(found())
    assert (
        "| a network | training step | 100 ms (90 to 110) | 250 ms (225 to 275) | 2.50 | 50 % |"
        in text
    )
    assert "| a network | sampling | 2 s (1.8 to 2.2) | 1 s (0.9 to 1.1) | 0.50 |  |" in text
    assert (
        "| a network | 3.0 s | 5.0 s | 0.5 s | 6.0 s | 2.0 s | 4.0 s | 1.00 GiB | 2.00 GiB |"
        in text
    )
    plot(found(), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_a_noisy_machine_gives_no_result(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.__main__.foreign_share", lambda seconds: 0.4)
    monkeypatch.setattr("sys.argv", ["benchmarks", "--out", str(tmp_path / "out.json")])
    assert main() == 3
    assert "others took 40 % of the machine" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_others_take_is_seen():
    # A process of ours that is nobody's worker.
    spin = "import time; end = time.time() + 30\nwhile time.time() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        others = Others()
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        assert others.share() > 0.05
    finally:
        process.kill()
        process.wait()


def test_both_sides_are_given_the_same_network():
    for case in CASES.values():
        kind, fields = case.ours
        if kind == "UNet":
            theirs = case.theirs[1]
            widths = tuple(fields["channels"] * m for m in fields["multipliers"])
            assert theirs["block_out_channels"] == widths
            assert theirs["layers_per_block"] == fields["num_res_blocks"]
            assert (theirs["sample_size"],) * 2 + (theirs["in_channels"],) == case.shape
