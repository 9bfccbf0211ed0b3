"""The main programs ask for no more than they did: tests/golden/programs/make_programs.py."""

import json

import make_programs
import pytest

# The compiler's own counts move a little between releases of one line.
ROOM = 0.03


@pytest.mark.slow
def test_programs_ask_for_no_more_than_they_did():
    known = json.loads(make_programs.PLACE.read_text())
    line = make_programs.jax_line()
    if line not in known:
        pytest.skip(f"no figures of jax {line} are recorded; run make_programs.py with it")
    grown = {
        f"{program}, {name}": (known[line][program][name], got)
        for program, figures in make_programs.figures().items()
        for name, got in figures.items()
        if got > known[line][program][name] * (1 + ROOM)
    }
    assert not grown, f"recorded and now: {grown}"
