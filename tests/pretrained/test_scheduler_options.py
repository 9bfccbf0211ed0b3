"""No option of a scheduler is forgotten: each is honoured, refused by name, or known unused."""

import importlib.util
import json
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import diffax
from diffax.pretrained.schedulers import from_diffusers
from diffax.pretrained.schedulers.classes import ABSENT, CLASSES
from diffax.pretrained.schedulers.kinds import KINDS
from diffax.solvers import DDIM, LCM, DPMSolverPP, Euler, UniPC

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"
# Option -> default, class by class, from the reference's own constructors (`make_options.py`).
SIGNATURES = json.loads((GOLDEN / "options.json").read_text())
EVERY = [(name, option) for name in SIGNATURES for option in SIGNATURES[name]]
STEPS = 8

# Another value than the default, and what it needs beside it to change anything.
PROBES = {
    "num_train_timesteps": 500,
    "beta_start": 0.0005,
    "beta_end": 0.03,
    "beta_schedule": "squaredcos_cap_v2",
    "trained_betas": [0.001 + 0.0001 * i for i in range(1000)],
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "thresholding": True,
    "dynamic_thresholding_ratio": 0.9,
    "sample_max_value": 1.5,
    "clip_sample_range": 2.0,
    "timestep_spacing": "trailing",
    "timestep_type": "continuous",
    "interpolation_type": "log_linear",
    "steps_offset": 1,
    "use_karras_sigmas": True,
    "use_exponential_sigmas": True,
    "use_beta_sigmas": True,
    "use_lu_lambdas": True,
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
    "shift": 3.0,
    "shift_terminal": 0.1,
    "use_dynamic_shifting": True,
    "invert_sigmas": True,
    "sigma_min": 0.05,
    "sigma_max": 40.0,
    "sigma_data": 1.0,
    "sigma_schedule": "exponential",
    "rho": 5.0,
    "final_sigmas_type": "sigma_min",
    "lambda_min_clipped": -1.5,
    "original_inference_steps": 25,
    "timestep_scaling": 5.0,
    "solver_order": 3,
    "algorithm_type": "sde-dpmsolver++",
    "euler_at_final": True,
    "predict_x0": False,
    "disable_corrector": [0],
    "solver_p": {"_class_name": "DDIMScheduler"},
    "stochastic_sampling": True,
    "variance_type": "fixed_large",
    "time_shift_type": "linear",
    "base_shift": 0.3,
    "max_shift": 2.0,
    "base_image_seq_len": 64,
    "max_image_seq_len": 1024,
}
OWN_PROBES = {
    ("UniPCMultistepScheduler", "solver_type"): "bh1",
    ("DEISMultistepScheduler", "solver_type"): "midpoint",
    ("DEISMultistepScheduler", "algorithm_type"): "dpmsolver",
}
CONTEXT = {
    "dynamic_thresholding_ratio": {"thresholding": True},
    "sample_max_value": {"thresholding": True},
    "clip_sample_range": {"clip_sample": True},
    "steps_offset": {"timestep_spacing": "leading"},
    "timestep_type": {"prediction_type": "v_prediction"},
    "flow_shift": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
    "use_flow_sigmas": {"prediction_type": "epsilon"},
    "sigma_min": {"use_karras_sigmas": True},
    "sigma_max": {"use_karras_sigmas": True},
    # The last step goes with order 1 anyway, and a table's last time is 0 anyway.
    "lower_order_final": {"final_sigmas_type": "sigma_min"},
    "euler_at_final": {"final_sigmas_type": "sigma_min", "lower_order_final": False},
    "set_alpha_to_one": {"timestep_spacing": "leading"},
}


def setup_of(file, steps=STEPS, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return from_diffusers(file, steps, **given)


def same(one, other) -> bool:
    """Whether two setups have the same numbers and the same structure."""

    def parts(setup):
        return setup.schedule, setup.parameterization, setup.solver, setup.grid, setup.start_scale

    leaves, more = jax.tree.leaves(parts(one)), jax.tree.leaves(parts(other))
    return (
        jax.tree.structure(parts(one)) == jax.tree.structure(parts(other))
        and one.limits == other.limits
        and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(leaves, more, strict=True))
    )


def probe(name, option):
    if (name, option) in OWN_PROBES:
        return OWN_PROBES[name, option]
    default = SIGNATURES[name][option]
    if isinstance(default, bool):
        return not default
    return {"solver_type": "heun"}.get(option) or PROBES[option]


def test_options_and_defaults_are_the_references():
    assert {name: dict(c.options) for name, c in CLASSES.items()} == SIGNATURES


@pytest.mark.parity
def test_signatures_are_the_installed_diffusers():
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    path = GOLDEN / "make_options.py"
    spec = importlib.util.spec_from_file_location("make_options", path)
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.signatures() == SIGNATURES


def test_every_option_has_a_kind_or_is_unused():
    for name, option in EVERY:
        assert option in KINDS or option in CLASSES[name].unused, (name, option)
    assert set(ABSENT) <= set(KINDS) | {"time_shift_type"}


@pytest.mark.parametrize(("name", "option"), EVERY)
def test_no_option_is_ignored(name, option):
    context = {k: v for k, v in CONTEXT.get(option, {}).items() if k in SIGNATURES[name]}
    file = {"_class_name": name, **context}
    plain, value = setup_of(file), probe(name, option)
    assert value != SIGNATURES[name][option]
    try:
        changed = setup_of({**file, option: value})
    except ValueError as error:
        assert option in str(error), f"refused, but not by name: {error}"
        return
    assert same(plain, changed) == (option in CLASSES[name].unused)


WRONG = [None, "0.5", "yes", 3.7, 10**30, -1, float("nan"), [], ["a"], {}, [[1]], True]


@pytest.mark.parametrize("option", sorted(KINDS.keys() - {"eta"}))
def test_values_of_another_kind_are_refused_in_one_line(option):
    name = next(n for n in SIGNATURES if option in SIGNATURES[n] and n != "TCDScheduler")
    refused = 0
    for value in WRONG:
        try:
            setup_of({"_class_name": name, option: value})
        except ValueError as error:
            text = str(error)
            assert "\n" not in text and len(text) < 300, text
            refused += option in text and "got" in text
    null = SIGNATURES[name][option] is None
    expected = sum(not KINDS[option].accepts(v) for v in WRONG if not (null and v is None))
    if option in CLASSES[name].unused:
        assert refused == 0
    else:
        assert refused >= expected > 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "a scheduler configuration is a JSON object, got"),
        ("DDIMScheduler", "a scheduler configuration is a JSON object, got 'DDIM"),
        ({"_class_name": ["DDIMScheduler"]}, "no counterpart of the diffusers scheduler"),
        ({"_class_name": None}, "no counterpart of the diffusers scheduler None"),
    ],
)
def test_a_file_of_another_kind(config, message):
    with pytest.raises(ValueError, match=message):
        from_diffusers(config, 10)


@pytest.mark.parametrize("steps", [0, -3, 2.5, True, "10", None])
def test_steps_of_another_kind(steps):
    with pytest.raises(ValueError, match="steps should be a whole number"):
        from_diffusers({"_class_name": "DDIMScheduler"}, steps)


PIXELS = {
    "_class_name": "DDPMScheduler",
    "clip_sample": True,
    "thresholding": True,
    "timestep_spacing": "trailing",
    "final_sigmas_type": "sigma_min",
}


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"DDPMScheduler", "DDIMScheduler"}))
def test_a_class_limits_x0_only_if_it_reads_that(name):
    """google/ddpm-*: with every sampler that is swapped in, diffusers does not clip."""
    reads = {"clip_sample", "thresholding"} & (SIGNATURES[name].keys() - CLASSES[name].unused)
    swapped = setup_of(PIXELS | {"timestep_spacing": "leading"}, _class_name=name)
    assert (swapped.limits.quantile is not None) == ("thresholding" in reads)
    assert (swapped.limits.clip is not None) == (reads == {"clip_sample"})
    asked = setup_of(
        PIXELS | {"timestep_spacing": "leading"},
        _class_name=name,
        clip_sample=True,
        thresholding=False,
    )
    assert asked.limits.clip == 1.0


def test_the_files_final_level_and_spacing_count_only_where_read():
    plain = setup_of({"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "trailing"})
    # (Heun does clip.)
    swapped = setup_of(PIXELS, _class_name="HeunDiscreteScheduler", clip_sample=False)
    assert same(plain, swapped)
    asked = setup_of(PIXELS, _class_name="HeunDiscreteScheduler", final_sigmas_type="sigma_min")
    assert float(asked.grid.sigma[-1]) > 0
    # It reads the final level, not the spacing.
    name = "DPMSolverSinglestepScheduler"
    single = setup_of(PIXELS, _class_name=name, thresholding=False)
    assert same(single, setup_of({"_class_name": name, "final_sigmas_type": "sigma_min"}))


def test_zero_terminal_snr_belongs_to_the_model():
    """diffusers' LMS and KDPM2 do not read it and sample from other levels than were trained."""
    file = {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True,
            "prediction_type": "v_prediction", "timestep_spacing": "trailing"}  # fmt: skip
    for name in ("LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "EulerDiscreteScheduler"):
        levels = setup_of(file, _class_name=name).grid
        np.testing.assert_allclose(levels.sigma[0] / levels.alpha[0], 4096, rtol=1e-5)
        theirs = setup_of(file, _class_name=name, rescale_betas_zero_snr=False).grid
        assert float(theirs.sigma[0] / theirs.alpha[0]) < 200


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("DDIMScheduler", {"use_karras_sigmas": True}, "use_karras_sigmas changes nothing in DDIM"),
        ("LCMScheduler", {"timestep_spacing": "trailing"}, "timestep_spacing changes nothing"),
        ("EulerDiscreteScheduler", {"eta": 0.5}, "eta changes nothing"),
        ("DPMSolverMultistepScheduler", {"eta": 0.5}, "eta changes nothing"),
        ("DEISMultistepScheduler", {"final_sigmas_type": "sigma_min"}, "final_sigmas_type changes"),
        ("DDIMScheduler", {"use_karras_sigma": True}, "no scheduler has an option use_karras_si"),
        ("UniPCMultistepScheduler", {"disable_corrector": [2]}, "expected the first steps"),
        ("DDIMInverseScheduler", {"timestep_spacing": "linspace"}, "one of leading, trailing"),
        ("UniPCMultistepScheduler", {"shift_terminal": 0.1}, "needs use_flow_sigmas"),
        ("DEISMultistepScheduler", {"prediction_type": "flow_prediction"}, "needs use_flow_sig"),
        (
            "DPMSolverMultistepScheduler",
            {"use_flow_sigmas": True, "use_karras_sigmas": True},
            "not on the straight path",
        ),
        (
            "LMSDiscreteScheduler",
            {"trained_betas": [0.1, 0.2]},
            "has 2 entries, num_train_timesteps says 1000",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name, given, message):
    with pytest.raises(ValueError, match=message):
        from_diffusers({"_class_name": name}, STEPS, **given)


@pytest.mark.parametrize(
    ("file", "name", "solver"),
    [
        ({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh2"},
         "DPMSolverMultistepScheduler", DPMSolverPP),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_type": "heun"},
         "UniPCMultistepScheduler", UniPC),
    ],
)  # fmt: skip
def test_a_choice_only_other_classes_know(file, name, solver):
    with pytest.warns(UserWarning, match=f"{name} knows no solver_type '{file['solver_type']}'"):
        setup = from_diffusers(file, STEPS, _class_name=name)
    assert isinstance(setup.solver, solver)
    assert setup.solver.kind == SIGNATURES[name]["solver_type"]
    with pytest.raises(ValueError, match="solver_type of UniPC.*: expected one of midpoint"):
        from_diffusers({"_class_name": "UniPCMultistepScheduler", "solver_type": "rk4"}, STEPS)


def test_sanas_flow_levels():
    """Sana: DPM-Solver++ on the straight path, times shifted by 3 and cut off to whole ones."""
    setup = setup_of({
        "_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0,
        "prediction_type": "flow_prediction",
    }, 4)  # fmt: skip
    even = np.linspace(0.999, 0, 5)
    shifted = 3 * even / (1 + 2 * even)
    np.testing.assert_allclose(setup.grid.sigma, shifted, rtol=1e-6)
    np.testing.assert_allclose(setup.grid.alpha, 1 - shifted, rtol=1e-6)
    np.testing.assert_array_equal(setup.grid.t, np.floor(1000 * shifted))
    assert isinstance(setup.schedule, diffax.schedules.RectifiedFlow)


def test_stable_videos_levels():
    """Its network is told log(k) / 4 of levels that go beyond the table's."""
    setup = setup_of({
        "_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True, "sigma_min": 0.002,
        "sigma_max": 700.0, "timestep_type": "continuous", "prediction_type": "v_prediction",
        "timestep_spacing": "leading", "steps_offset": 1,
    }, 5)  # fmt: skip
    k = np.linspace(700 ** (1 / 7), 0.002 ** (1 / 7), 5) ** 7
    np.testing.assert_allclose(setup.grid.sigma_ratio[:-1], k, rtol=1e-4)
    np.testing.assert_allclose(setup.grid.t[:-1], 0.25 * np.log(k), rtol=1e-5)
    assert isinstance(setup.solver, Euler)


def test_stochastic_flow_sampling_is_x0_and_fresh_noise():
    setup = setup_of({"_class_name": "FlowMatchEulerDiscreteScheduler",
                      "stochastic_sampling": True}, 3)  # fmt: skip
    assert isinstance(setup.solver, LCM)
    x = np.ones((1, 2), np.float32)
    network = diffax.Network(lambda p, x, t, c: 0.5 * x, None, None, setup.parameterization)
    noise = jax.numpy.full((1, 3, 2), 2.0)
    out = diffax.sample(network, setup.solver, setup.grid, x, diffax.solvers.NoiseTape(noise))
    for s, t in zip(setup.grid.sigma[:-1], setup.grid.sigma[1:], strict=True):
        x = (1 - t) * (x - s * 0.5 * x) + t * 2.0
    np.testing.assert_allclose(out, x, rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "laplace", "exp"])
def test_more_schedules_of_betas(name):
    schedule = setup_of({"_class_name": "DDPMScheduler", "beta_schedule": name}).schedule
    bars = np.asarray(schedule.alpha_bar)
    assert np.all(np.diff(bars) < 0) and bars[0] > 0.97
    if name == "sigmoid":
        start, end = (0.0001 + 0.0199 / (1 + np.exp(s)) for s in (6, -6))
        np.testing.assert_allclose(schedule.beta[jax.numpy.array([0, -1])], [start, end], rtol=1e-5)
    if name == "exp":
        np.testing.assert_allclose(bars[499], np.exp(-6), rtol=1e-4)


def test_edms_negated_answer():
    plain, negated = (
        setup_of({"_class_name": "EDMEulerScheduler", "prediction_type": kind}).parameterization
        for kind in ("epsilon", "v_prediction")
    )
    point = diffax.schedules.EDM().at(3.0)
    x0, eps = np.array([[0.5, -1.0]], np.float32), np.array([[0.2, 1.3]], np.float32)
    x = x0 + 3 * eps
    np.testing.assert_allclose(negated.target(x0, eps, point), -plain.target(x0, eps, point))
    read = negated.read(negated.target(x0, eps, point), x, point)
    np.testing.assert_allclose(read.x0, x0, rtol=1e-5)
    np.testing.assert_allclose(read.eps, eps, rtol=1e-5)


def test_an_alpha_bar_of_zero():
    """Used as it is by DDIM; where a solver divides by alpha it is the least half-precision one."""
    betas = [0.1] * 9 + [1.0]
    file = {"_class_name": "DDIMScheduler", "trained_betas": betas, "num_train_timesteps": 10,
            "timestep_spacing": "trailing", "prediction_type": "v_prediction"}  # fmt: skip
    setup = setup_of(file, 5)
    assert isinstance(setup.solver, DDIM) and float(setup.grid.alpha[0]) == 0
    for name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LMSDiscreteScheduler"):
        grid = setup_of(file, 5, _class_name=name).grid
        np.testing.assert_allclose(grid.alpha[0], 2.0**-12, rtol=1e-6)


def test_an_empty_last_step_adds_no_noise():
    """EDM's exponential levels end in sigma_min: the step of length zero once gave NaN."""
    setup = setup_of({
        "_class_name": "EDMDPMSolverMultistepScheduler", "sigma_schedule": "exponential",
        "final_sigmas_type": "sigma_min", "algorithm_type": "sde-dpmsolver++",
    })  # fmt: skip
    network = diffax.Network(lambda p, x, t, c: 0.1 * x, None, None, setup.parameterization)
    x = setup.start_scale * np.ones((1, 3), np.float32)
    out = diffax.sample(network, setup.solver, setup.grid, x, diffax.sample_keys(0, 1))
    assert np.isfinite(out).all()
    assert float(setup.grid.sigma[-1]) == float(setup.grid.sigma[-2])
