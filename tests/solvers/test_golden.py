"""Agreement with diffusers, by the table that `tests/golden/solvers/make.py` made from it.

The reference's float32 runs carry its own rounding (its tables are float32 products of a thousand
factors), up to a few percent where eps is read at almost pure noise: some runs amplify rounding by
1e5. So float32 is held to 1e-5 or, where the reference itself is far from its own float64 run, to
ten times that distance; and float64 to 1e-9 or as much more as that amplification explains.
"""

import golden
import jax
import numpy as np
import pytest

CONFIGS, SINGLE, DOUBLE = golden.table()


def known_difference(config: dict) -> str | None:
    """Where diffusers' number is wrong and not repeated."""
    if (
        config["_class_name"] == "DDPMScheduler"
        and config.get("variance_type") == "fixed_large"
        and config.get("timestep_spacing") == "trailing"
    ):
        return "it adds noise to the finished sample where the last time is not 0"
    return None


def comparable(numbers) -> list[int]:
    finite = np.isfinite(SINGLE).all(axis=1) & np.isfinite(DOUBLE).all(axis=1)
    return [i for i in numbers if finite[i] and known_difference(CONFIGS[i][0]) is None]


def own_error(numbers) -> np.ndarray:
    """How far the reference's float32 run is from its float64 run."""
    return golden.relative_error(SINGLE[numbers].astype(np.float64), DOUBLE[numbers])


def check(numbers) -> None:
    ours = golden.run_all([CONFIGS[i] for i in numbers])
    error = golden.relative_error(ours, SINGLE[numbers].astype(np.float64))
    allowed = np.maximum(1e-5, 10 * own_error(numbers))
    worst = int(np.argmax(error / allowed))
    assert np.all(error <= allowed), (CONFIGS[numbers[worst]], error[worst], allowed[worst])


def schedulers() -> list[str]:
    return sorted({config["_class_name"] for config, _ in CONFIGS})


def of(name: str) -> list[int]:
    return [i for i, (config, _) in enumerate(CONFIGS) if config["_class_name"] == name]


def quick(name: str) -> list[int]:
    """10 steps, the scheduler's first variant: one compilation for all spacings and predictions."""
    numbers = [i for i in of(name) if CONFIGS[i][1] == 10]

    def structure(i):
        setup = golden.setup_of(*CONFIGS[i])
        return str(jax.tree.structure(setup.solver)), setup.limits

    first = structure(numbers[0])
    return [i for i in numbers if structure(i) == first]


@pytest.mark.parametrize("name", schedulers())
def test_agrees_with_diffusers_at_10_steps(name):
    check(comparable(quick(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", schedulers())
def test_agrees_with_diffusers_everywhere(name):
    check(comparable(of(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", schedulers())
def test_agrees_with_diffusers_in_float64(name):
    numbers = comparable(of(name))
    with jax.enable_x64(True):
        ours = golden.run_all([CONFIGS[i] for i in numbers])
    error = golden.relative_error(ours, DOUBLE[numbers])
    # Its float32 error over float32's precision is how much a run amplifies rounding.
    allowed = np.maximum(1e-9, 1e-9 * own_error(numbers) / 1e-5)
    worst = int(np.argmax(error / allowed))
    assert np.all(error <= allowed), (CONFIGS[numbers[worst]], error[worst], allowed[worst])


def test_most_of_the_table_is_comparable():
    assert len(comparable(range(len(CONFIGS)))) > 0.97 * len(CONFIGS)


@pytest.mark.parity
def test_table_is_what_the_installed_diffusers_gives():
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    make = golden.load("make")
    for i in range(0, len(CONFIGS), 25):
        config, steps = CONFIGS[i]
        now = make.run(config, steps, double=True).ravel()
        np.testing.assert_allclose(now, DOUBLE[i], rtol=1e-6, atol=1e-9, err_msg=str(config))
