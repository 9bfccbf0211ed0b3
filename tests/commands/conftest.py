"""Whole runs of the same recipes, compiled once."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _cached(compiled_once):
    """Programs are shared with other tests."""
