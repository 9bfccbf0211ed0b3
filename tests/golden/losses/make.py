"""The originals' losses on fixed data, noise and times, with a fixed function as the network.

    python tests/golden/losses/make.py --edm DIR --improved_diffusion DIR --score_sde DIR \
        --flow_matching DIR

Each DIR is a checkout of NVlabs/edm, openai/improved-diffusion, yang-song/score_sde_pytorch and
facebookresearch/flow_matching; PyTorch runs on the CPU. Writes `originals.npz` beside this file:
data, what was drawn, and the loss of each example. `network` is the same function as in
`tests/losses/test_originals.py`.
"""

import argparse
import sys
import types
from pathlib import Path

import numpy as np
import torch

BATCH, SHAPE = 4, (3, 4, 4)


def network(x, t):
    """A network's answer: smooth, of x and t, never right."""
    return 0.3 * x + 0.1 * torch.sin(x + t.reshape(-1, 1, 1, 1))


def per_example(loss):
    """Means over all but the batch."""
    return loss.reshape(BATCH, -1).mean(1).numpy()


def edm(x0, keep):
    """EDM's loss: D is the network's answer, told the noise level."""
    from training.loss import EDMLoss

    seen = {}

    def denoiser(y, sigma, labels, augment_labels=None):
        seen.update(y=y, sigma=sigma)
        return network(y, sigma)

    loss = EDMLoss(P_mean=-1.2, P_std=1.2, sigma_data=0.5)(denoiser, x0)
    keep("edm/sigma", seen["sigma"].reshape(-1))
    keep("edm/eps", (seen["y"] - x0) / seen["sigma"])
    keep("edm/loss", per_example(loss))


def improved_diffusion(x0, keep):
    """Hybrid loss of learned variances on the cosine table with T = 4000; t = 0 is the decoder."""
    from improved_diffusion import gaussian_diffusion as gd

    diffusion = gd.GaussianDiffusion(
        betas=gd.get_named_beta_schedule("cosine", 4000),
        model_mean_type=gd.ModelMeanType.EPSILON,
        model_var_type=gd.ModelVarType.LEARNED_RANGE,
        loss_type=gd.LossType.RESCALED_MSE,
        rescale_timesteps=True,
    )
    t, eps = torch.tensor([0, 5, 1200, 3990]), torch.randn(BATCH, *SHAPE)

    def both(x, scaled):
        return torch.cat([network(x, scaled), torch.tanh(x)], dim=1)

    x0 = torch.round((x0.clamp(-1, 1) + 1) * 127.5) / 127.5 - 1  # 8-bit data
    terms = diffusion.training_losses(both, x0, t, noise=eps)
    keep("iddpm/x0", x0)
    keep("iddpm/t", t.float())
    keep("iddpm/eps", eps)
    keep("iddpm/mse", terms["mse"])
    keep("iddpm/vb", terms["vb"])


def score_sde(x0, keep):
    """Plain and likelihood weights in continuous time, on VP, sub-VP and VE."""
    import sde_lib
    from losses import get_sde_loss_fn

    kinds = {"vp": sde_lib.VPSDE(), "sub_vp": sde_lib.subVPSDE(), "ve": sde_lib.VESDE()}
    for name, sde in kinds.items():
        for weighted in (False, True):
            rows = {"t": [], "eps": [], "loss": []}
            for i in range(BATCH):  # it gives means over a batch: one example at a time
                torch.manual_seed(10 + i)
                t, eps = torch.rand(1) * (1 - 1e-5) + 1e-5, torch.randn(1, *SHAPE)
                torch.manual_seed(10 + i)
                loss = get_sde_loss_fn(
                    sde, train=False, continuous=True, likelihood_weighting=weighted
                )
                model = types.SimpleNamespace(eval=lambda: None)
                value = loss(_Callable(model), x0[i : i + 1])
                for key, number in (("t", t), ("eps", eps), ("loss", value.reshape(1))):
                    rows[key].append(number)
            kind = f"{name}_likelihood" if weighted else name
            for key, numbers in rows.items():
                keep(f"score_sde/{kind}/{key}", torch.cat(numbers))


class _Callable:
    """A score model that can be put into evaluation mode."""

    def __init__(self, model):
        self.eval = model.eval

    def __call__(self, x, labels):
        return network(x, labels)


def flow_matching(x0, keep):
    """Conditional flow matching along the straight and the VP path."""
    from flow_matching.path import AffineProbPath, CondOTProbPath
    from flow_matching.path.scheduler import VPScheduler

    t, eps = torch.tensor([0.1, 0.4, 0.7, 0.95]), torch.randn(BATCH, *SHAPE)
    paths = {"straight": CondOTProbPath(), "vp": AffineProbPath(VPScheduler())}
    keep("flow/t", 1 - t)  # its time runs from noise to data
    keep("flow/eps", eps)
    for name, path in paths.items():
        sample = path.sample(x_0=eps, x_1=x0, t=t)
        loss = (network(sample.x_t, t) - sample.dx_t) ** 2
        keep(f"flow/{name}/x", sample.x_t)
        keep(f"flow/{name}/loss", per_example(loss))


def main() -> None:
    """Run every original that was given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    makers = [edm, improved_diffusion, score_sde, flow_matching]
    for maker in makers:
        parser.add_argument(f"--{maker.__name__}", type=Path, required=True)
    flags = parser.parse_args()
    torch.manual_seed(0)
    x0 = 0.5 * torch.randn(BATCH, *SHAPE)
    kept = {"x0": x0.numpy()}

    def keep(name, value):
        kept[name] = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)

    for maker in makers:
        sys.path.insert(0, str(getattr(flags, maker.__name__)))
        torch.manual_seed(1)
        with torch.no_grad():
            maker(x0, keep)
        sys.path.pop(0)
    np.savez_compressed(Path(__file__).parent / "originals.npz", **kept)


if __name__ == "__main__":
    main()
