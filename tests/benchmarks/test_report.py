"""`python -m benchmarks`: what is made of measured times, and when they are no result."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import Others, WorkerEnded, main
from benchmarks.cases import CASES, cases
from benchmarks.report import NAMES, plot, table, utilization

ROOT = Path(__file__).parents[2]


def found():
    def times(median):
        return {"median": median, "least": 0.9 * median, "most": 1.1 * median, "processor": median}

    case = {
        "title": "a network",
        "facts": {
            "diffax": {"device": "cpu", "jax": "1"},
            "torch": {"forward_flops": 2e9, "torch": "2", "diffusers": "3"},
        },
        "calls": {"train": 3, "sample": 20},
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
        "foreign": 0.01,
    }
    return {"date": "2026-01-01", "cores": 2, "cases": {"net": case}}


def test_flops_are_those_of_all_calls():
    case = found()["cases"]["net"]
    assert utilization(case, "train") == pytest.approx(3 * 2 / 0.1 / 120)
    assert utilization(case, "sample") == pytest.approx(20 * 2 / 2.0 / 120)
    # 50 steps of 512 images in batches of 512; one picture whose every step asks for a batch of 2.
    assert CASES["cifar_512"].calls["sample"] == CASES["sd15_gpu"].calls["sample"] == 50


def test_table_and_plot(tmp_path):
    text = table(found())
    assert (
        "| a network | training step | 100 ms (90 to 110) | 250 ms (225 to 275) | 2.50 | 50 % |"
        in text
    )
    assert "| a network | sampling | 2 s (1.8 to 2.2) | 1 s (0.9 to 1.1) | 0.50 | 17 % |" in text
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


@pytest.fixture
def suite(monkeypatch, tmp_path):
    """Runs the suite with measurements that take no time, and gives what it left."""
    out = tmp_path / "out.json"

    def run(measured, *words):
        monkeypatch.setattr("benchmarks.__main__.foreign_share", lambda seconds: 0.0)
        monkeypatch.setattr("benchmarks.__main__.measured", measured)
        monkeypatch.setattr("sys.argv", ["benchmarks", "--out", str(out), *words])
        status = main()
        return status, list(json.loads(out.read_text())["cases"]) if out.exists() else []

    return run


def test_what_is_left_when_time_is_up_is_measured_by_the_next_call(suite, capsys):
    asked = []

    def measured(name, case, flags):
        asked.append(name)
        time.sleep(0.2)
        return found()["cases"]["net"]

    words = ["--only", "mlp", "digits", "small", "--minutes", str(0.3 / 60)]
    assert suite(measured, *words) == (0, ["mlp"])
    said = capsys.readouterr().err
    assert "out of time, left: digits small; the same command with --go-on" in said
    assert suite(measured, *words, "--go-on") == (0, ["mlp", "digits"])
    assert suite(measured, *words, "--go-on") == (0, ["mlp", "digits", "small"])
    assert asked == ["mlp", "digits", "small"]


def test_another_machines_figures_are_not_gone_on_with(suite, tmp_path, capsys):
    suite(lambda *_: found()["cases"]["net"], "--only", "mlp")
    out = tmp_path / "out.json"
    out.write_text(json.dumps(json.loads(out.read_text()) | {"processor": "another"}))
    with pytest.raises(SystemExit, match="2"):
        suite(lambda *_: found()["cases"]["net"], "--only", "digits", "--go-on")
    assert "of this suite and machine, got another's" in capsys.readouterr().err
    assert list(json.loads(out.read_text())["cases"]) == ["mlp"]


def test_a_case_that_fails_or_is_disturbed_leaves_the_others(suite, capsys):
    def measured(name, case, flags):
        if name == "mlp":
            raise WorkerEnded("diffax's process ended at 'train'")
        return found()["cases"]["net"] | {"foreign": 0.5 if name == "small" else 0.0}

    assert suite(measured, "--only", "mlp", "digits") == (1, ["digits"])
    assert "mlp: diffax's process ended at 'train'" in capsys.readouterr().err
    assert suite(measured, "--only", "small", "digits") == (3, ["digits"])


def test_a_gpu_is_asked_for_before_anything_is_built(monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--suite", "gpu"])
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(SystemExit, match="expected a GPU that diffax's side can use, got none"):
        main()


@pytest.mark.parity
def test_the_whole_gpu_suite_runs_where_there_is_none():
    program = [sys.executable, "-m", "benchmarks", "--suite", "gpu", "--tiny"]
    level = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # most of it is compilation
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, env=os.environ | level)
    assert done.returncode == 0, done.stderr
    for case in cases(tiny=True).values():
        if case.suite == "gpu":
            for what in case.measures:
                assert f"| {case.title} | {NAMES[what]} | " in done.stdout


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
    for case in [*CASES.values(), *cases(tiny=True).values()]:
        kind, fields = case.ours
        if kind == "UNet":
            theirs = case.theirs[1]
            widths = tuple(fields["channels"] * m for m in fields["multipliers"])
            assert theirs["block_out_channels"] == widths
            assert theirs["layers_per_block"] == fields["num_res_blocks"]
            assert (theirs["sample_size"],) * 2 + (theirs["in_channels"],) == case.shape
