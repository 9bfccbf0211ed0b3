"""Most tests run the same tiny training, compiled once."""

import os
import sys
from pathlib import Path

import pytest

folder = str(Path(__file__).parent)
sys.path[:0] = [folder, str(Path(__file__).parents[1] / "golden/programs")]
# The children of a test import what the test shares with them.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))

import tiny_run  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _cached(compiled_once):
    """Programs are shared with other tests."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory, cache):
    """An uninterrupted run: (config, folder, its last state)."""
    config = tiny_run.tiny_config()
    workdir = tmp_path_factory.mktemp("whole")
    tiny_run.use_cache(cache)
    assert tiny_run.run(workdir, config) == 0
    return config, workdir, tiny_run.saved_state(workdir, config, tiny_run.STEPS)
