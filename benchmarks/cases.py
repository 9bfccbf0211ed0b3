"""What is measured: the same networks on both sides, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """One network, one kind of batch, and how often what is measured.

    Attributes:
        title: for the table.
        ours: name of a network in `diffax.models`, and its fields; or a family of published
            networks, and what is other than in its U-Net's config.
        theirs: name of a class of diffusers (or "StepMLP"), and its fields; or the same family.
        shape: of one example, channels last.
        batch: examples in a training step and in a call of the network.
        labels: classes the network is told; 0: none.
        context: length and width of the tokens it is told; None: none.
        stack: steps in one compiled call of ours; theirs makes as many, one by one.
        sample: images and DDIM steps of the sampling loop, of a published family from a text to
            pictures; None: not measured.
        train: whether training is measured.
        forward: whether a call of the network is measured.
        bfloat16: compute in half precision (theirs under autocast).
        rounds: how often the two sides take turns.
        apart: one side after the other instead, for what does not fit a GPU's memory twice.
        again: whether compiling is measured on its own, and a start from a full cache.
        suite: "cpu" or "gpu".
    """

    title: str
    ours: tuple[str, dict[str, Any]]
    theirs: tuple[str, dict[str, Any]]
    shape: tuple[int, ...]
    batch: int
    labels: int = 0
    context: tuple[int, int] | None = None
    stack: int = 1
    sample: tuple[int, int] | None = None
    train: bool = True
    forward: bool = True
    bfloat16: bool = False
    rounds: int = 5
    apart: bool = False
    again: bool = True
    suite: str = "cpu"

    @property
    def measures(self) -> tuple[str, ...]:
        """What the workers are asked for."""
        wanted = {"train": self.train, "forward": self.forward, "sample": self.sample is not None}
        return tuple(name for name, yes in wanted.items() if yes)

    @property
    def calls(self) -> dict[str, float]:
        """Calls of the network on a batch that each measurement is worth; a gradient is two."""
        images, steps = self.sample or (0, 0)
        guided = 2 if self.context else 1
        return {"train": 3, "forward": 1, "sample": guided * images * steps / self.batch}


def _unet(channels: int, multipliers: tuple[int, ...], layers: int, attending: tuple[int, ...]):
    """Fields of DDPM's U-Net; `attending`: levels with attention."""

    def ours(size: int) -> tuple[str, dict[str, Any]]:
        resolutions = tuple(size // 2**i for i in attending)
        return "UNet", dict(
            channels=channels,
            multipliers=multipliers,
            num_res_blocks=layers,
            attention_resolutions=resolutions,
            num_heads=1,
        )

    def theirs(size: int, colours: int) -> tuple[str, dict[str, Any]]:
        down = ["AttnDownBlock2D" if i in attending else "DownBlock2D" for i in levels]
        up = ["AttnUpBlock2D" if i in attending else "UpBlock2D" for i in reversed(levels)]
        return "UNet2DModel", dict(
            sample_size=size,
            in_channels=colours,
            out_channels=colours,
            block_out_channels=tuple(channels * m for m in multipliers),
            layers_per_block=layers,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            norm_num_groups=min(32, channels // 4),
            norm_eps=1e-6,
            downsample_padding=0,
            attention_head_dim=None,
            flip_sin_to_cos=False,
            freq_shift=1,
        )

    levels = range(len(multipliers))
    return lambda size, colours: dict(
        ours=ours(size), theirs=theirs(size, colours), shape=(size, size, colours)
    )


def cases(*, tiny: bool = False) -> dict[str, Case]:
    """All of them by name.

    Args:
        tiny: narrow networks, small batches, few steps: to see that everything runs.
    """
    digits = _unet(32, (1, 2), 1, (1,))(8, 1)
    small = _unet(32, (1, 2, 2), 2, (2,))(28, 1)
    cifar = _unet(32 if tiny else 128, (1, 2, 2, 2), 2, (1,))(32, 3)
    heads, depth = (2, 2) if tiny else (12, 12)
    dit = dict(
        ours=("DiT", dict(features=64 * heads, depth=depth, num_heads=heads, num_classes=1000)),
        theirs=(
            "DiTTransformer2DModel",
            dict(
                num_attention_heads=heads, attention_head_dim=64, num_layers=depth, out_channels=4
            ),
        ),
        shape=(32, 32, 4),
        labels=1000,
    )
    published = ("sd1", {"block_out_channels": [32, 64, 64, 64]} if tiny else {})
    side = 8 if tiny else 64
    sd = dict(
        ours=published, theirs=published, shape=(side, side, 4), context=(77, 768), train=False
    )
    gpu = dict(bfloat16=True, again=False, suite="gpu")
    all_cases = {
        "mlp": Case(
            "S-curve tutorial's MLP, batch 128",
            ours=("StepMLP", {}),
            theirs=("StepMLP", {}),
            shape=(2,),
            batch=128,
            stack=500,
        ),
        "digits": Case(
            "digits U-Net (32, 64), batch 128", **digits, batch=128, stack=10, sample=(100, 50)
        ),
        "small": Case(
            "1.6 M U-Net (32, 64, 64), batch 64", **small, batch=64, stack=10, sample=(16, 50)
        ),
        "cifar": Case("DDPM's CIFAR U-Net, batch 8", **cifar, batch=8, stack=5),
        "dit": Case("DiT-B/2, latents 32 x 32, batch 2", **dit, batch=2, stack=5),
        "sd15": Case("SD 1.5 U-Net, 64 x 64 latents, batch 2", **sd, batch=2, rounds=3),
        # Of the GPU's the first are those with targets.
        "cifar_512": Case(
            "DDPM's CIFAR U-Net, bfloat16, batch 512",
            **cifar,
            **gpu,
            batch=512,
            stack=5,
            forward=False,
            sample=(512, 50),
        ),
        "sd15_gpu": Case(
            "Stable Diffusion 1.5, bfloat16, a picture of 512 x 512",
            **sd,
            **gpu,
            batch=2,
            sample=(1, 50),
        ),
        "cifar_128": Case(
            "DDPM's CIFAR U-Net, bfloat16, batch 128",
            **cifar,
            **(gpu | {"again": True}),
            batch=128,
            stack=5,
            forward=False,
        ),
        "dit_256": Case(
            "DiT-B/2, bfloat16, batch 256", **dit, **gpu, batch=256, stack=5, forward=False
        ),
        "cifar_1024": Case(
            "DDPM's CIFAR U-Net, bfloat16, batch 1,024",
            **cifar,
            **gpu,
            batch=1024,
            stack=5,
            forward=False,
            apart=True,
        ),
    }
    return {name: _tiny(case) for name, case in all_cases.items()} if tiny else all_cases


def _tiny(case: Case) -> Case:
    sample = None if case.sample is None else (1 if case.context else 2, 2)
    return replace(case, batch=2, stack=min(case.stack, 2), sample=sample, rounds=1)


CASES = cases()
