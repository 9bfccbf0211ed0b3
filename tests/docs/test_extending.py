"""The code of docs/extending.md, top to bottom."""

import re
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from diffax import schedules

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_page_runs(monkeypatch):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S))
    # Classes of a recipe's own are found again in the module that defined them.
    page = types.ModuleType("extending_page")
    monkeypatch.setitem(sys.modules, page.__name__, page)
    exec(compile(code, str(PAGE), "exec"), page.__dict__)

    assert page.status == 0 and page.status_of_mean == 0
    assert page.drawn.shape == (4, 2) and np.isfinite(page.drawn).all()
    assert page.vectors.shape == (8, 2) and np.isfinite(page.vectors).all()
    rows = (page.workdir / "metrics.jsonl").read_text()
    assert rows.count("off_circle") == 2

    # The parameterization reads its own target back.
    x0, eps = jnp.array([[0.3, -1.0]]), jnp.array([[0.5, 2.0]])
    for point in (schedules.linear(100).at(50), schedules.VP().at(1.0)):
        kind = page.Difference()
        x = point.alpha * x0 + point.sigma * eps
        read = kind.read(kind.target(x0, eps, point), x, point)
        np.testing.assert_allclose(read.x0, x0, atol=1e-5)
        np.testing.assert_allclose(read.eps, eps, atol=1e-5)
