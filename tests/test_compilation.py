"""Quick programs: the same numbers to rounding, and one kind for the whole of a run."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax.compilation import compiler_options, give_back_memory, jit, llvm_level
from diffax.training.config import may_change

X86_64 = platform.machine().lower() in ("x86_64", "amd64")


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
    kept = {"xla_disable_hlo_passes": "cse_barrier_expander"}
    if X86_64:
        kept["xla_cpu_experimental_ynn_fusion_type"] = (
            "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
        )
    assert llvm_level(1) == {"xla_backend_optimization_level": 1} | kept
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert llvm_level(1) == kept
    flags = " ".join(f"--{name}=" for name in kept) + " --xla_backend_optimization_level=2"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert llvm_level(1) is None


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other back ends keep barriers anyway")
def test_barriers_are_kept():
    def compiled(options) -> str:
        program = jax.jit(lambda x: jnp.tanh(jax.lax.optimization_barrier(x * x) + x))
        return program.lower(jnp.ones((8, 8))).compile(compiler_options=options).as_text()

    assert "opt-barrier(" in compiled(llvm_level(0))
    assert "opt-barrier(" not in compiled(None)  # when this fails, the option can go


@pytest.mark.skipif(
    jax.default_backend() != "cpu" or not X86_64,
    reason="measured on x86-64 only; others keep what XLA takes",
)
def test_convolutions_are_not_ynnpack_s():
    """Elsewhere in the program YNNPACK stays: a product of matrices is its own."""

    def program(x, kernel, a):
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return y, a @ a

    shapes = jnp.ones((8, 16, 16, 64)), jnp.ones((3, 3, 64, 64)), jnp.ones((256, 256))

    def entry(options) -> str:
        text = jax.jit(program).lower(*shapes).compile(compiler_options=options).as_text()
        return text[text.index("ENTRY") :]

    assert " convolution(" in entry(llvm_level(1))
    assert entry(llvm_level(1)).count("__ynn_fusion") == 1  # the product
    assert " convolution(" not in entry(None)  # when this fails, the option can go


def test_a_part_of_another_program_is_compiled_with_it():
    double = jit(lambda x: 2 * x)
    expected = np.float32([4, 8])
    x = jnp.asarray([1.0, 2.0])
    np.testing.assert_array_equal(double(double(x)), expected)
    np.testing.assert_array_equal(jax.jit(lambda x: double(double(x)))(x), expected)
    np.testing.assert_array_equal(jax.vmap(lambda x: double(double(x)))(x), expected)
    assert jax.grad(lambda x: double(x).sum())(x).tolist() == [2, 2]


def test_a_function_of_a_module_asks_for_no_device_before_it_is_called():
    script = (
        "from jax._src import xla_bridge\nfrom diffax import compilation\n"
        "f = compilation.jit(lambda x: 2 * x)\nassert not xla_bridge._backends\n"
        "assert f(1.0) == 2.0\nassert xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="a C library of its own")
def test_what_the_c_library_keeps_is_given_back():
    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    blocks = [library.malloc(60_000) for _ in range(2_000)]  # too small to be mapped one by one
    for block in blocks:
        ctypes.memset(block, 1, 60_000)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking
        library.free(ctypes.c_void_p(block))
    before = resident()
    give_back_memory()
    assert before - resident() > 90  # of 114 MiB
    library.free(ctypes.c_void_p(blocks[-1]))
