"""Each deterministic solver's global error falls as its stated order, in float64."""

import jax
import numpy as np
import orders
import pytest

from diffax.solvers import registry


@pytest.fixture(scope="module")
def exact():
    with jax.enable_x64(True):
        return orders.answers()


# Name and options; the order is the one that the solver states. One row a class by default.
QUICK = [
    ("ddim", {}),
    ("euler", {}),
    ("euler_ancestral", {"eta": 0.0}),
    ("heun", {}),
    ("kdpm2", {}),
    ("kdpm2_ancestral", {"eta": 0.0}),
    ("flow_heun", {}),
    ("dpmpp_2m", {}),
    ("dpmpp_3m", {}),
    ("dpmpp_2m_sde", {"eta": 0.0}),
    ("dpm_2m", {}),
    ("dpmpp_3s", {}),
    ("deis", {"order": 3}),
    ("unipc", {}),
    ("lms", {}),
    ("plms", {}),
    ("pndm", {}),
]
REST = [
    ("flow_euler", {}),
    ("dpmpp_2m", {"kind": "heun"}),
    ("dpm_2m", {"kind": "heun"}),
    ("dpm_3m", {}),
    ("dpmpp_2s", {}),
    ("dpmpp_2s", {"kind": "heun"}),
    ("dpm_2s", {}),
    ("dpm_3s", {}),
    ("dpmpp_3s", {"kind": "heun"}),
    ("deis", {"order": 1}),
    ("deis", {}),
    ("unipc", {"order": 1}),
    ("unipc", {"kind": "bh1"}),
    ("unipc", {"predict_x0": False}),
    ("unipc", {"order": 3}),
    ("lms", {"order": 1}),
    ("lms", {"order": 2}),
    ("lms", {"order": 3}),
]


def check(name, options, exact):
    with jax.enable_x64(True):
        error = orders.errors(name, exact, **options)
    measured = orders.slope(orders.COUNTS, error)
    assert abs(measured - orders.stated(name, options)) <= 0.25, (measured, error)


@pytest.mark.parametrize(("name", "options"), QUICK)
def test_error_falls_with_the_stated_order(name, options, exact):
    check(name, options, exact)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), REST)
def test_error_falls_with_the_stated_order_for_every_option(name, options, exact):
    check(name, options, exact)


def test_published_third_order_weights_are_second_order(exact):
    """diffusers and the paper's code halve the second difference; the name for that is compat."""
    with jax.enable_x64(True):
        error = orders.errors("dpmpp_3m", exact, compat="diffusers")
    assert abs(orders.slope(orders.COUNTS, error) - 2) <= 0.25


def test_every_solver_of_an_ode_is_in_the_table():
    """All but those that always add noise, go up, or choose their own steps (tested below)."""

    def is_measured(said):
        return said.stochastic is not True and not said.backwards and said.count is not None

    names = {
        name
        for name, entry in registry.GAUSSIAN.items()
        if entry.order > 0 and is_measured(entry.description)
    }
    assert names == {name for name, _ in QUICK + REST}
    classes = {registry.lookup(name).make for name in names}
    assert classes == {registry.lookup(name).make for name, _ in QUICK}


@pytest.mark.slow
def test_adaptive_solver_meets_its_tolerance(exact):
    pytest.importorskip("diffrax", reason="diffrax is not installed")
    import jax.numpy as jnp

    import diffax

    with jax.enable_x64(True):
        x, ends = orders.starts(), orders.grid(1, graded=False)
        keys = diffax.sample_keys(0, x.shape[0])
        for tolerance in (1e-4, 1e-7):
            solver = diffax.solvers.RK45(orders.SCHEDULE, rtol=tolerance, atol=tolerance)
            found = diffax.sample(orders.MIXTURE, solver, ends, x, keys)[:, 0]
            assert float(jnp.max(jnp.abs(found - exact))) < 20 * tolerance
            assert np.all(np.isfinite(found))
