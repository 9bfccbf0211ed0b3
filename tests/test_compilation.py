"""Quick programs: the same numbers to rounding, and one kind for the whole of a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.compilation import compiler_options, llvm_level
from diffax.training.config import may_change


@pytest.mark.parametrize("quick", [True, False])
def test_every_option_is_known_to_this_compiler(quick):
    x = jnp.linspace(-1, 1, 64).reshape(8, 8)
    program = jax.jit(
        lambda x: jnp.tanh(x @ x).sum(), compiler_options=compiler_options(quick=quick)
    )
    expected = np.tanh(np.asarray(x) @ np.asarray(x)).sum()
    np.testing.assert_allclose(program(x), expected, rtol=1e-5)


def test_a_run_keeps_to_one_kind_of_program():
    """Quick and thorough ones differ in rounding: a resume would not be bitwise."""
    assert not may_change("train.quick")
    assert may_change("sample.quick")


def test_flags_of_the_user_go_first(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    assert llvm_level(1) == {"xla_backend_optimization_level": 1}
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert llvm_level(1) is None
