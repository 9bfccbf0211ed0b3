"""What is measured: the same networks on both sides, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One network, one kind of batch, and how often what is measured.

    Attributes:
        title: for the table.
        ours: name of a network in `diffax.models`, and its fields.
        theirs: name of a class of diffusers (or "StepMLP"), and its fields.
        shape: of one example, channels last.
        batch: examples in a training step and in a call of the network.
        labels: classes the network is told; 0: none.
        context: length and width of the tokens it is told; None: none.
        stack: steps in one compiled call of ours; theirs makes as many, one by one.
        sample: images and DDIM steps of the sampling loop; None: not measured.
        train: whether training is measured.
        bfloat16: compute in half precision (theirs under autocast).
        rounds: how often the two sides take turns.
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
    bfloat16: bool = False
    rounds: int = 5
    suites: tuple[str, ...] = field(default=("cpu",))

    @property
    def measures(self) -> tuple[str, ...]:
        """What the workers are asked for."""
        wanted = {"train": self.train, "forward": True, "sample": self.sample is not None}
        return tuple(name for name, yes in wanted.items() if yes)


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


_DIGITS = _unet(32, (1, 2), 1, (1,))(8, 1)
_SMALL = _unet(32, (1, 2, 2), 2, (2,))(28, 1)
_CIFAR = _unet(128, (1, 2, 2, 2), 2, (1,))(32, 3)
_DIT = dict(
    ours=("DiT", dict(features=768, num_heads=12, num_classes=1000)),
    theirs=(
        "DiTTransformer2DModel",
        dict(num_attention_heads=12, attention_head_dim=64, num_layers=12, out_channels=4),
    ),
    shape=(32, 32, 4),
    labels=1000,
)
_SD = dict(ours=("sd1", {}), theirs=("sd1", {}), shape=(64, 64, 4), context=(77, 768), train=False)

CASES = {
    "mlp": Case(
        "S-curve tutorial's MLP, batch 128",
        ours=("StepMLP", {}),
        theirs=("StepMLP", {}),
        shape=(2,),
        batch=128,
        stack=500,
    ),
    "digits": Case(
        "digits U-Net (32, 64), batch 128", **_DIGITS, batch=128, stack=10, sample=(100, 50)
    ),
    "small": Case(
        "1.6 M U-Net (32, 64, 64), batch 64", **_SMALL, batch=64, stack=10, sample=(16, 50)
    ),
    "cifar": Case("DDPM's CIFAR U-Net, batch 8", **_CIFAR, batch=8, stack=5),
    "dit": Case("DiT-B/2, latents 32 x 32, batch 2", **_DIT, batch=2, stack=5),
    "sd15": Case("SD 1.5 U-Net, 64 x 64 latents, batch 2", **_SD, batch=2, rounds=3),
    **{
        f"cifar_{batch}": Case(
            f"DDPM's CIFAR U-Net, bfloat16, batch {batch}",
            **_CIFAR,
            batch=batch,
            bfloat16=True,
            sample=(batch, 50) if batch == 512 else None,
            suites=("gpu",),
        )
        for batch in (128, 512, 1024)
    },
    "dit_256": Case(
        "DiT-B/2, bfloat16, batch 256", **_DIT, batch=256, bfloat16=True, suites=("gpu",)
    ),
    "sd15_gpu": Case(
        "SD 1.5 U-Net, bfloat16, batch 2",
        **_SD,
        batch=2,
        bfloat16=True,
        suites=("gpu",),
    ),
}
