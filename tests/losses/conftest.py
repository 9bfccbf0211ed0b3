"""Lets the tests here import the source of tokens, which lies beside the solvers' tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "solvers"))
