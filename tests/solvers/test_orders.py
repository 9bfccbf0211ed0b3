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


# Name, options, stated order. The order of the options' own case, where there are any.
QUICK = [
    ("ddim", {}, 1),
    ("heun", {}, 2),
    ("kdpm2", {}, 2),
    ("flow_heun", {}, 2),
    ("dpmpp_2m", {}, 2),
    ("dpmpp_3m", {}, 3),
    ("dpmpp_3s", {}, 3),
    ("deis", {"order": 3}, 3),
    ("unipc", {}, 3),
    ("lms", {}, 4),
    ("plms", {}, 2),
]
REST = [
    ("euler", {}, 1),
    ("flow_euler", {}, 1),
    ("euler_ancestral", {"eta": 0.0}, 1),
    ("kdpm2_ancestral", {"eta": 0.0}, 2),
    ("dpmpp_2m", {"kind": "heun"}, 2),
    ("dpm_2m", {}, 2),
    ("dpm_2m", {"kind": "heun"}, 2),
    ("dpm_3m", {}, 3),
    ("dpmpp_2m_sde", {"eta": 0.0}, 2),
    ("dpmpp_2s", {}, 2),
    ("dpmpp_2s", {"kind": "heun"}, 2),
    ("dpm_2s", {}, 2),
    ("dpm_3s", {}, 3),
    ("dpmpp_3s", {"kind": "heun"}, 3),
    ("deis", {"order": 1}, 1),
    ("deis", {}, 2),
    ("unipc", {"order": 1}, 2),
    ("unipc", {"kind": "bh1"}, 3),
    ("unipc", {"predict_x0": False}, 3),
    ("unipc", {"order": 3}, 4),
    ("lms", {"order": 1}, 1),
    ("lms", {"order": 2}, 2),
    ("lms", {"order": 3}, 3),
    ("pndm", {}, 2),
]


def check(name, options, order, exact):
    with jax.enable_x64(True):
        error = orders.errors(name, exact, **options)
    measured = orders.slope(orders.COUNTS, error)
    assert abs(measured - order) <= 0.25, (measured, error)


@pytest.mark.parametrize(("name", "options", "order"), QUICK)
def test_error_falls_with_the_stated_order(name, options, order, exact):
    check(name, options, order, exact)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "order"), REST)
def test_error_falls_with_the_stated_order_for_every_option(name, options, order, exact):
    check(name, options, order, exact)


def test_published_third_order_weights_are_second_order(exact):
    """diffusers and the paper's code halve the second difference; the name for that is compat."""
    with jax.enable_x64(True):
        error = orders.errors("dpmpp_3m", exact, compat="diffusers")
    assert abs(orders.slope(orders.COUNTS, error) - 2) <= 0.25


def test_registry_states_the_order_measured_here():
    measured = {name: order for name, options, order in REST[::-1] + QUICK if not options}
    for name, order in measured.items():
        assert registry.SOLVERS[name].order == order, name


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
