"""Settings every test runs under."""

import gc
import os

import jaxlib.version

# Tracing makes many objects and few cycles: looking for them takes an eighth of the time.
gc.set_threshold(100_000, 50, 100)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the hub
# Programs kept between runs are reported as foreign on the very machine that compiled them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

flags = os.environ.get("XLA_FLAGS", "")
if "optimization_level=0" in flags and jaxlib.version.__version_info__ < (0, 11):
    # Of two ways to write fusions the one that compiles twice as fast; later versions know one.
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false"

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> str:
    """Folder of the session's compilation cache."""
    return str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def compiled_once(cache):
    """Keeps every compiled program in the session's cache, for as long as a module runs."""
    changes = {
        "jax_compilation_cache_dir": cache,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in changes}
    compilation_cache.reset_cache()
    for name, value in changes.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
