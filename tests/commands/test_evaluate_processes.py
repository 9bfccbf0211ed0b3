"""evaluate.py in two real processes: each draws and looks at its share, the figures are one's."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from diffax.data import Toy
from diffax.training import Options, load_recipe, train_recipe

ROOT = Path(__file__).parents[2]
SAMPLES = 101  # shared as 51 and 50
WORDS = [
    *("--metrics", "frechet", "kid", "sliced_wasserstein"),
    *("--features", "classifier", "--features.steps", "30", "--features.batch_size", "16"),
    *("--num", str(SAMPLES), "--batch-size", "17"),
    "--quiet",
]


@pytest.fixture
def workdir(tmp_path):
    recipe = load_recipe("s_curve:debug", ROOT / "configs")
    config = dataclasses.replace(
        recipe.config,
        data=Toy("moons", num=511),
        train=dataclasses.replace(
            recipe.config.train, steps=4, log_every=2, images=False, tensorboard=False
        ),
    )
    recipe = dataclasses.replace(recipe, summarize=None)
    assert train_recipe(recipe, config, tmp_path / "run", Options(quiet=True)) == 0
    return tmp_path / "run"


def evaluated(workdir, out, count):
    """What each of `count` processes printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, str(ROOT / "evaluate.py"), "--workdir", str(workdir), *WORDS]
    command += ["--out", str(out)]
    joined = [
        ["--coordinator", coordinator, "--num-processes", str(count), "--process-id", str(i)]
        for i in range(count)
    ]
    processes = [
        subprocess.Popen(
            command + (words if count > 1 else []),
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in joined
    ]
    told = [process.communicate(timeout=280) for process in processes]
    assert [process.returncode for process in processes] == [0] * count, told
    return [printed for printed, _ in told]


@pytest.mark.slow
def test_two_processes_measure_as_one(workdir, tmp_path):
    found = []
    for count in (1, 2):
        printed = evaluated(workdir, tmp_path / str(count), count)
        assert ["frechet" in told for told in printed] == [True, False][:count]
        report = json.loads((tmp_path / str(count) / "evaluation.json").read_text())
        assert report["samples"]["number"] == SAMPLES
        found.append(report["figures"])
    for weights, figures in found[0].items():
        assert figures.keys() == found[1][weights].keys() and len(figures) >= 3
        for name, value in figures.items():
            assert found[1][weights][name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
