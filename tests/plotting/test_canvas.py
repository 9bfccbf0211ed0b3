"""Matplotlib without its hidden state."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_pyplot_is_left_alone():
    code = (
        "import sys; from diffax import plotting; plotting.loss_curve([]);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
