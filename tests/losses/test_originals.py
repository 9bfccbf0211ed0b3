"""Losses agree with the originals' on the same data, noise and times.

`tests/golden/losses/make.py` runs NVlabs/edm, openai/improved-diffusion,
yang-song/score_sde_pytorch and facebookresearch/flow_matching. Images there are `[B, C, H, W]`:
nothing here mixes channels but the halves of a learned variance.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffax import losses, schedules
from diffax.losses import LearnedVariance, diffusion_loss
from diffax.parameterization import EDM, X0, Eps, Flow, Velocity

KEPT = np.load(Path(__file__).parents[1] / "golden" / "losses" / "originals.npz")


def kept(name: str) -> jax.Array:
    value = jnp.asarray(KEPT[name])
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def network(x, t):
    """The script's."""
    return 0.3 * x + 0.1 * jnp.sin(x + t.reshape(-1, 1, 1, 1))


class Given:
    """Times that are given instead of drawn."""

    def __init__(self, t):
        self.t = t

    def __call__(self, key, schedule, batch):
        return schedule.at(self.t)


def parts_of(apply, *, t, eps, x0=None, weighting=None, **settings):
    """The loss of each example, on what the original drew."""
    _, parts = diffusion_loss(
        lambda params, x, t, condition: apply(x, t), None, kept("x0") if x0 is None else x0,
        jax.random.key(0), times=Given(t), weighting=weighting or losses.Constant(),
        couple=lambda x0, drawn: eps, **settings,
    )  # fmt: skip
    return parts


@pytest.mark.parametrize("preconditioned", [True, False])
def test_edm(preconditioned):
    """Its weights on D, and constant ones on the preconditioned network that gives the same D."""
    kind = EDM(0.5)

    def raw(shown, t):  # F, from the D that the script's network is
        sigma = jnp.exp(4 * t).reshape(-1, 1, 1, 1)
        total = sigma**2 + 0.25
        x = shown * jnp.sqrt(total)
        return (network(x, sigma) - 0.25 / total * x) / (0.5 * sigma / jnp.sqrt(total))

    parts = parts_of(
        raw if preconditioned else network,
        t=kept("edm/sigma"),
        eps=kept("edm/eps"),
        schedule=schedules.EDM(),
        parameterization=kind if preconditioned else X0(),
        weighting=losses.Constant() if preconditioned else losses.EDM(0.5),
    )
    np.testing.assert_allclose(parts["weighted"], kept("edm/loss"), rtol=2e-5)


def test_the_hybrid_loss_of_improved_ddpm():
    """Its bound's terms are per time and divided by T: 1000 of its vb are 1000 / T of ours."""

    def both(x, t):
        return jnp.concatenate([network(x, t * 1000 / 4000), jnp.tanh(x)], axis=-1)

    parts = parts_of(
        both,
        t=kept("iddpm/t"),
        eps=kept("iddpm/eps"),
        x0=kept("iddpm/x0"),
        schedule=schedules.cosine(4000),
        parameterization=Eps(),
        variance=LearnedVariance("learned_range", 0.001),
    )
    np.testing.assert_allclose(parts["mse"], kept("iddpm/mse"), rtol=2e-5)
    # At t = 3990 a step's variances differ by float32 rounding of both.
    np.testing.assert_allclose(0.001 * parts["vlb"], kept("iddpm/vb"), rtol=2e-3, atol=1e-6)


SDES = {"vp": schedules.VP(), "sub_vp": schedules.SubVP(), "ve": schedules.VE()}


@pytest.mark.parametrize("likelihood", [False, True])
@pytest.mark.parametrize("name", SDES)
def test_score_sde(name, likelihood):
    """Its network is the negative noise over std; VE's gives the score and is told sigma."""
    schedule = SDES[name]
    group = f"score_sde/{name}{'_likelihood' if likelihood else ''}"

    def eps_of(x, t):
        if name == "ve":
            sigma = schedule.at(t).sigma
            return -network(x, sigma) * sigma.reshape(-1, 1, 1, 1)
        return network(x, 999 * t)

    parts = parts_of(
        eps_of,
        t=kept(f"{group}/t"),
        eps=kept(f"{group}/eps"),
        schedule=schedule,
        parameterization=Eps(),
        weighting=losses.Likelihood() if likelihood else losses.Constant(),
    )
    np.testing.assert_allclose(parts["weighted"], kept(f"{group}/loss"), rtol=2e-4)


@pytest.mark.parametrize("name", ["straight", "vp"])
def test_flow_matching(name):
    """Its velocity runs from noise to data: the sign of the network turns, the loss stays."""
    schedule = {"straight": schedules.RectifiedFlow(), "vp": schedules.VP()}[name]
    t = kept("flow/t")
    parts = parts_of(
        lambda x, t: -network(x, 1 - t),
        t=t,
        eps=kept("flow/eps"),
        schedule=schedule,
        parameterization=Velocity() if name == "straight" else Flow().on(schedule),
    )
    np.testing.assert_allclose(parts["weighted"], kept(f"flow/{name}/loss"), rtol=2e-4)


def test_the_edm_loss_is_a_weighted_eps_loss():
    """The change of variables, for any network and any path: the same D, the same loss."""
    t, eps, kind = kept("edm/sigma"), kept("edm/eps"), EDM(0.5)
    for schedule in (schedules.EDM(), schedules.VP()):
        times = t if isinstance(schedule, schedules.EDM) else t / (1 + t)
        at = schedule.at(times).broadcast(eps)

        def as_eps(x, t, at=at, schedule=schedule, times=times):
            shown, told = kind.network_input(x, schedule.at(times))
            return kind.read(network(shown, told), x, schedule.at(times)).eps

        settings = dict(t=times, eps=eps, schedule=schedule)
        ours = parts_of(network, parameterization=kind, **settings)
        theirs = parts_of(as_eps, parameterization=Eps(), weighting=losses.EDM(0.5), **settings)
        np.testing.assert_allclose(ours["weighted"], theirs["weighted"], rtol=1e-3)
