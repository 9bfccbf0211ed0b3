"""Measurements: `python -m benchmarks` beside the reference, and scripts of one question each."""
