"""diffusers' configurations read as they are meant, and the sums its own tests publish."""

import jax.numpy as jnp
import numpy as np
import pytest

import diffax
from diffax.solvers import DDIM, PLMS, PNDM, UniPC

STABLE_DIFFUSION = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}


def dummy_model(params, x, t, condition):
    t = t[:, None, None, None]
    return x * t / (t + 1)


def dummy_sample():
    """The deterministic sample of the reference's tests, NHWC."""
    shape = (3, 8, 8, 4)
    ramp = np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)
    return jnp.asarray(ramp.transpose(3, 1, 2, 0), jnp.float32)


def full_loop(config: dict, steps: int = 10) -> np.ndarray:
    setup = diffax.pretrained.schedulers.from_diffusers(config, steps)
    network = diffax.Network(dummy_model, None, None, setup.parameterization)
    start = dummy_sample() * setup.start_scale
    keys = diffax.sample_keys(0, 4)
    final = diffax.sample(setup.limits(network), setup.solver, setup.grid, start, keys)
    return np.abs(np.asarray(final, np.float64))


END = {"final_sigmas_type": "sigma_min", "lower_order_final": False}


@pytest.mark.parametrize(
    ("config", "total", "mean"),
    [
        ({"_class_name": "DDIMScheduler"}, 172.0067, 0.223967),
        ({"_class_name": "PNDMScheduler"}, 198.1318, 0.2580),
        ({"_class_name": "DPMSolverMultistepScheduler", **END}, None, 0.3301),
        ({"_class_name": "DPMSolverSinglestepScheduler", **END}, None, 0.2791),
        ({"_class_name": "DEISMultistepScheduler"}, None, 0.23916),
        (
            {"_class_name": "UniPCMultistepScheduler", "final_sigmas_type": "sigma_min"},
            None,
            0.2464,
        ),
    ],
)
def test_published_full_loop_sums(config, total, mean):
    found = full_loop(config)
    # They are published with four or five digits.
    assert abs(found.mean() - mean) < 1e-3 * mean, found.mean()
    if total is not None:
        assert abs(found.sum() - total) < 1e-2


def test_stable_diffusion_file():
    setup = diffax.pretrained.schedulers.from_diffusers(
        {"_class_name": "PNDMScheduler", **STABLE_DIFFUSION}, 50
    )
    assert isinstance(setup.solver, PLMS)
    times = np.asarray(setup.grid.t)
    assert [times[0], times[1], times[-2], times[-1]] == [981, 961, 1, 0]
    np.testing.assert_allclose(float(setup.grid.alpha[-1]) ** 2, 1 - 0.00085, rtol=1e-6)
    ddim = diffax.pretrained.schedulers.from_diffusers(
        {"_class_name": "PNDMScheduler", **STABLE_DIFFUSION}, 50, _class_name="DDIMScheduler"
    )
    assert isinstance(ddim.solver, DDIM) and float(ddim.start_scale) == 1
    np.testing.assert_array_equal(ddim.grid.t, setup.grid.t)


def test_other_schedulers_from_the_same_file():
    for name, first in [
        ("EulerDiscreteScheduler", 999),
        ("DPMSolverMultistepScheduler", 999),
        ("UniPCMultistepScheduler", 999),
    ]:
        setup = diffax.pretrained.schedulers.from_diffusers(
            {"_class_name": name, **STABLE_DIFFUSION}, 20
        )
        assert int(setup.grid.t[0]) == first
    assert isinstance(setup.solver, UniPC)
    full = diffax.pretrained.schedulers.from_diffusers({"_class_name": "PNDMScheduler"}, 50)
    assert isinstance(full.solver, PNDM)


def test_ddims_wrong_previous_time_has_a_name():
    """diffusers steps by T // S; ours by the grid. With linspace spacing they differ."""
    config = {"_class_name": "DDIMScheduler", "timestep_spacing": "linspace", "clip_sample": False}
    setup = diffax.pretrained.schedulers.from_diffusers(config, 10)
    network = diffax.Network(dummy_model, None, None, setup.parameterization)
    keys, x = diffax.sample_keys(0, 4), dummy_sample()
    theirs = diffax.sample(network, setup.solver, setup.grid, x, keys)
    ours = diffax.sample(network, DDIM(), setup.grid, x, keys)
    assert float(jnp.max(jnp.abs(theirs - ours))) > 0.01


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "DDIMSheduler"}, "no counterpart"),
        ({}, "no counterpart"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "quartic"}, "quartic"),
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "even"}, "even"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "score"}, "score"),
        ({"_class_name": "DEISMultistepScheduler", "use_dynamic_shifting": True}, "use_dynamic"),
        ({"_class_name": "PNDMScheduler", "timestep_spacing": "linspace"}, "use leading"),
        (
            {
                "_class_name": "EulerDiscreteScheduler",
                "use_karras_sigmas": True,
                "use_beta_sigmas": True,
            },
            "only one",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        diffax.pretrained.schedulers.from_diffusers(config, 10)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["learned_range", "learned"])
def test_learned_variances_are_diffusers(kind):
    """A network with twice the channels: eps and what it says of the variance."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    random = np.random.default_rng(0)
    start, noise = random.normal(size=(1, 2, 3, 3)), random.normal(size=(10, 1, 2, 3, 3))

    def network(x, t, lib, axis):
        # For "learned", diffusers takes the second half for the variance itself.
        said = 0.5 * lib.tanh(x) if kind == "learned_range" else 0.01 + 0.001 * lib.tanh(x)
        join = lib.concatenate if hasattr(lib, "concatenate") else lib.cat
        return join([lib.tanh(x) * (0.5 + t / 2000), said], axis)

    scheduler = diffusers.DDPMScheduler(variance_type=kind, clip_sample=False)
    scheduler.set_timesteps(10)
    tape = iter(noise)
    module = diffusers.schedulers.scheduling_ddpm
    real, module.randn_tensor = module.randn_tensor, lambda *a, **k: torch.tensor(next(tape))
    try:
        x = torch.tensor(start)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t, torch, 1), t, x).prev_sample
    finally:
        module.randn_tensor = real

    def apply(params, x, t, condition):
        out = network(x, t[:, None, None, None], jnp, -1)
        if kind == "learned":
            # Ours is the log-variance.
            out = out.at[..., 2:].set(jnp.log(out[..., 2:]))
        return out

    setup = diffax.pretrained.schedulers.from_diffusers(
        {"_class_name": "DDPMScheduler", "variance_type": kind, "clip_sample": False}, 10
    )
    given = diffax.solvers.NoiseTape(jnp.moveaxis(jnp.asarray(noise), (0, 2), (1, -1)))
    ours = diffax.sample(
        diffax.Network(apply, None, None, setup.parameterization),
        setup.solver,
        setup.grid,
        jnp.moveaxis(jnp.asarray(start, jnp.float32), 1, -1),
        given,
    )
    theirs = np.moveaxis(x.numpy(), 1, -1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
