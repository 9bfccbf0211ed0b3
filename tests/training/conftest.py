"""Compiled programs are kept between the runs of a session: most tests run the same tiny one."""

import os
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

folder = str(Path(__file__).parent)
sys.path.insert(0, folder)
# The children of a test import what the test shares with them.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))

import tiny_run  # noqa: E402


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> str:
    """Folder of the session's compilation cache, for child processes."""
    return str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module", autouse=True)
def _cached(cache):
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        )
    }
    tiny_run.use_cache(cache)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def whole(tmp_path_factory, cache):
    """An uninterrupted run: (config, folder, its last state)."""
    config = tiny_run.tiny_config()
    workdir = tmp_path_factory.mktemp("whole")
    tiny_run.use_cache(cache)
    assert tiny_run.run(workdir, config) == 0
    return config, workdir, tiny_run.saved_state(workdir, config, tiny_run.STEPS)
