"""`python -m benchmarks.gpu_ahead`: what is read off a program that was compiled for a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_ahead import moved

PROGRAM = """HloModule jit_call

%fused (a: f32[4,8]) -> f32[4] {
  %a = f32[4,8]{1,0} parameter(0)
  ROOT %sum = f32[4]{0} reduce(%a), dimensions={1}
}

ENTRY %main (x: bf16[2,3], y: f32[4,8]) -> (f32[4], bf16[2,2]) {
  %x = bf16[2,3]{1,0} parameter(0)
  %y = f32[4,8]{1,0} parameter(1)
  %sums = f32[4]{0} fusion(%y), kind=kInput, calls=%fused
  %conv.1 = (bf16[2,2]{1,0}, u8[4096]{0}) custom-call(%x, %x), custom_call_target="__cudnn$conv"
  %out = bf16[2,2]{1,0} get-tuple-element(%conv.1), index=0
  ROOT %both = (f32[4]{0}, bf16[2,2]{1,0}) tuple(%sums, %out)
}
"""


def test_kernels_read_their_operands_and_write_their_results():
    # The sum: 32 and 4 numbers of 4 bytes; the convolution: 6, 6 and 4 of 2, without its scratch.
    assert moved(PROGRAM) == {
        "kernels": 2,
        "bytes": 4 * (32 + 4) + 2 * (6 + 6 + 4),
        "libraries": {"__cudnn$conv": 1},
    }


def test_without_the_plugin_it_says_what_to_install():
    if importlib.util.find_spec("jax_plugins") is not None:
        pytest.skip("a plugin for another device is installed")
    done = _run("--only", "cifar_128")
    assert done.returncode == 1
    assert "expected jax's CUDA plugin, got none" in done.stderr


@pytest.mark.parity
def test_a_text_guided_network_compiles_for_a_gpu_that_is_not_there():
    if importlib.util.find_spec("jax_plugins") is None:
        pytest.skip("jax's CUDA plugin is not installed: pip install -e '.[cuda13]'")
    done = _run("--only", "sd15_gpu")
    assert done.returncode == 0, done.stderr
    assert "Stable Diffusion 1.5, bfloat16" in done.stdout


def _run(*words):
    program = [sys.executable, "-m", "benchmarks.gpu_ahead", *words]
    root = Path(__file__).parents[2]
    return subprocess.run(program, capture_output=True, text=True, cwd=root, env=os.environ.copy())
