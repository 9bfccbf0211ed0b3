"""The code of docs/library.md, top to bottom."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


@pytest.mark.slow
def test_the_page_runs(monkeypatch):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S))
    # Classes of a script's own are found again in the module that defined them.
    page = types.ModuleType("library_page")
    monkeypatch.setitem(sys.modules, page.__name__, page)
    exec(compile(code, str(PAGE), "exec"), page.__dict__)

    assert page.run.step == 20 and np.isfinite(page.samples.data).all()
    assert page.longer.step == 40 and len(page.losses) == 2
    assert page.labelled.load().spec.class_names == ("cat", "dog")
    assert page.listed.columns == ("x uint8 [8, 8, 3]", "caption str []")
    assert (page.workdir.parent / "nnx" / "losses.csv").read_text().startswith("10,")
    assert page.kind == "run" and page.model.shape == (2,)
