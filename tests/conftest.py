"""Settings every test runs under."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs kept between runs are reported as foreign on the very machine that compiled them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
