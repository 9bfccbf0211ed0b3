"""ControlNet (Zhang et al. 2023): a trainable copy of a U-Net's encoder that adds to its skips."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields, unet_encoder
from diffax.models.blocks.control import (
    HintEmbedding,
    Residuals,
    check_hint,
    zero_convolutions,
)
from diffax.models.bound import BoundModule
from diffax.models.condition import Condition, checked
from diffax.models.unet import UNet
from diffax.models.unet_condition import UNet2DConditionModel
from diffax.models.unet_control import UNetControl
from diffax.models.unet_encoder import ConditionalEncoder

# The values that the network knows, by field.
CHOICES = {**unet_encoder.CHOICES, "controlnet_conditioning_channel_order": ("rgb", "bgr")}

# Fields by which a ControlNet fits the U-Nets of a family.
_FITTING = {
    UNet2DConditionModel: (
        "block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type",
    ),
    UNet: (
        "channels", "multipliers", "num_res_blocks", "patch", "num_classes", "context_size",
        "embedding_size", "extra_channels",
    ),
}  # fmt: skip


class ControlNetModel(ConditionalEncoder):
    """A copy of a U-Net's encoder that is shown an image (Zhang et al. 2023, section 3.1).

    The attributes are the fields of a checkpoint's `config.json`, and those of
    `ConditionalEncoder`.

    Example:
        >>> model = ControlNetModel(block_out_channels=(32, 64), cross_attention_dim=16,
        ...     down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=2)
        >>> x, t = jnp.zeros((1, 8, 8, 4)), jnp.zeros(1)
        >>> told = {"context": jnp.zeros((1, 77, 16)), "control": jnp.zeros((1, 64, 64, 3))}
        >>> params = model.init(jax.random.key(0), x, t, told)
        >>> model.apply(params, x, t, told).mid.shape
        (1, 4, 4, 64)
    """

    conditioning_channels: int = 3
    conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    controlnet_conditioning_channel_order: str = "rgb"
    global_pool_conditions: bool = False

    def __post_init__(self) -> None:
        fields.whole(self, "conditioning_channels", "conditioning_embedding_out_channels")
        order = CHOICES["controlnet_conditioning_channel_order"]
        fields.one_of(self, controlnet_conditioning_channel_order=order)
        super().__post_init__()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it must be told."""
        return (*(name for name, asked in self.embeds.items() if asked), "control")

    @property
    def factor(self) -> int:
        """Pixels of the control image for each latent, on each axis."""
        return 2 ** (len(self.conditioning_embedding_out_channels) - 1)

    @property
    def count(self) -> int:
        """Residuals in all, the middle's included."""
        levels = len(self.block_out_channels)
        return sum(unet_encoder.per_block(self.layers_per_block, levels)) + levels + 1

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, condition: Condition, *, train: bool = False
    ) -> Residuals:
        """What is added to the U-Net's skips and middle.

        Args:
            x: latents `[B, H, W, C]`.
            t: `[B]`, in the schedule's steps.
            condition: what the U-Net is told, and "control" `[B, factor H, factor W,
                conditioning_channels]`, an image in [0, 1].
            train: changes nothing: there is no dropout.

        Raises:
            ValueError: a condition that is missing or of another size.
        """
        condition = checked(self, condition, x.shape[0], self.reads)
        hint = condition["control"]
        size = [side * self.factor for side in x.shape[1:3]]
        check_hint(hint, size, self.conditioning_channels)
        if self.controlnet_conditioning_channel_order == "bgr":
            hint = hint[..., ::-1]
        style, channels = self._style(), self.block_out_channels
        temb = self._time_embedding(t, condition, style)
        context = condition["context"].astype(self.dtype)
        x = style.conv(channels[0], "conv_in")(x)
        embedding = HintEmbedding(
            style,
            self.conditioning_embedding_out_channels,
            channels[0],
            name="controlnet_cond_embedding",
        )
        x = x + embedding(hint.astype(self.dtype))
        x, skips = self._down(x, temb, context, style, train)
        x = self._middle(x, temb, context, style, train)
        return zero_convolutions(style, skips, x, self.global_pool_conditions)


class ControlledUNet(nn.Module):
    """A U-Net with one or several ControlNets, whose residuals are added up.

    Its parameters are `{"unet": ..., "controls_0": ..., ...}`; see `controlled`.

    Attributes:
        unet: the network that denoises.
        controls: the ControlNets; each takes its channels of "control" in turn.
    """

    unet: UNet2DConditionModel | UNet
    controls: tuple[ControlNetModel | UNetControl, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return (*self.unet.reads, "control", "control_scale")

    @property
    def in_channels(self) -> int | None:
        """Input channels of a published U-Net."""
        return getattr(self.unet, "in_channels", None)

    @nn.compact
    def __call__(
        self, x: jax.Array, t: jax.Array, condition: Condition, *, train: bool = False
    ) -> jax.Array:
        """Evaluates the network.

        Args:
            x: latents `[B, H, W, C]`.
            t: `[B]`.
            condition: the U-Net's; "control" `[B, H', W', channels]`, the controls' images in
                [0, 1] one after the other along the channels; and perhaps "control_scale"
                `[B, N]`, how much each of N controls counts, or `[B, N, count]`, how much each of
                its residuals does (see `guess_scales`). Without it all count 1.
            train: whether dropout is active (rng "dropout").

        Returns:
            `[B, H, W, out_channels]`, float32.
        """
        condition = checked(self, condition, x.shape[0], ("control",))
        plain = {k: v for k, v in condition.items() if k not in ("control", "control_scale")}
        widths = [control.conditioning_channels for control in self.controls]
        hints, begin = condition["control"], 0
        if hints.shape[-1] != sum(widths):
            raise ValueError(
                f"expected control images of {sum(widths)} channels in all, got {hints.shape[-1]}"
            )
        scale = condition.get("control_scale")
        parts = []
        for i, (control, width) in enumerate(zip(self.controls, widths, strict=True)):
            told = {k: v for k, v in plain.items() if k in control.reads}
            told["control"] = hints[..., begin : begin + width]
            begin += width
            residuals = control(x, t, told, train=train)
            parts.append(residuals if scale is None else _scaled(residuals, scale[:, i]))
        down, mid = jax.tree.map(lambda *added: sum(added[1:], added[0]), *parts)
        return self.unet(x, t, plain, down_residuals=down, mid_residual=mid, train=train)


def _scaled(residuals: Residuals, scale: jax.Array) -> Residuals:
    """Every residual times its column of `scale`, `[B]` or `[B, count]`."""
    count = len(residuals.down) + 1
    each = jnp.broadcast_to(scale.reshape(scale.shape[0], -1), (scale.shape[0], count))
    scaled = [
        r * each[:, i, None, None, None].astype(r.dtype)
        for i, r in enumerate([*residuals.down, residuals.mid])
    ]
    return Residuals(tuple(scaled[:-1]), scaled[-1])


def guess_scales(count: int) -> jax.Array:
    """How much each of `count` residuals counts in guess mode, 0.1 to 1 for the middle.

    Zhang et al. 2023, "CFG resolution weighting", in the published implementation's form.
    """
    return jnp.logspace(-1.0, 0.0, count)


def controlled(unet: BoundModule, *controls: BoundModule) -> BoundModule:
    """A U-Net with its ControlNets, as one network.

    Raises:
        ValueError: no ControlNet, or one that was made for another family of U-Nets.
    """
    if not controls:
        raise ValueError("expected one ControlNet or more, got none")
    for control in controls:
        _check_fit(control.module, unet.module)
    copies: Any = tuple(control.module for control in controls)
    module = ControlledUNet(cast(Any, unet.module), copies)
    params = {"unet": unet.params["params"]}
    params |= {f"controls_{i}": c.params["params"] for i, c in enumerate(controls)}
    return BoundModule(module, {"params": params})


def controls_of(network: BoundModule) -> tuple[BoundModule, ...]:
    """The ControlNets of a `controlled` network, for example to save them after training."""
    params = network.params["params"]
    return tuple(
        BoundModule(control, {"params": params[f"controls_{i}"]})
        for i, control in enumerate(network.module.controls)
    )


def _check_fit(control: Any, unet: Any) -> None:
    """Refuses a ControlNet whose residuals or condition are not those of the U-Net."""
    if not isinstance(unet, tuple(_FITTING)):
        raise ValueError(
            "a ControlNet needs a text-conditional U-Net or a unet of ours, this is "
            f"{type(unet).__name__}"
        )
    own_kind = isinstance(unet, UNet)
    if own_kind != isinstance(control, UNetControl):
        raise ValueError(
            f"this ControlNet was made for another base model: it is a {type(control).__name__}, "
            f"the U-Net a {type(unet).__name__}"
        )
    for name in _FITTING[UNet if own_kind else UNet2DConditionModel]:
        own, theirs = getattr(control, name), getattr(unet, name)
        if own != theirs:
            raise ValueError(
                f"this ControlNet was made for another base model: its {name} is {own}, the "
                f"U-Net's {theirs}"
            )


def control_for(unet: UNet2DConditionModel | UNet, **changes: Any) -> ControlNetModel | UNetControl:
    """A ControlNet with the fields of a U-Net.

    Args:
        unet: whose encoder is to be copied.
        **changes: fields of the ControlNet, such as `conditioning_channels`.
    """
    ours = isinstance(unet, UNet)
    base, kind = (UNet, UNetControl) if ours else (ConditionalEncoder, ControlNetModel)
    own = {f.name for f in dataclasses.fields(base)} - {"parent", "name"}
    return kind(**{name: getattr(unet, name) for name in own} | changes)


def copied(control: nn.Module, unet: BoundModule, inputs: tuple, seed: int) -> BoundModule:
    """A ControlNet that starts as its U-Net's encoder (Zhang et al. 2023, section 3.1).

    Args:
        control: from `control_for`.
        unet: whose parameters are taken wherever it has some of that name.
        inputs: what the ControlNet is called with.
        seed: of what the U-Net does not have, the convolutions that read the image.
    """
    theirs = unet.params["params"]

    def new(key: jax.Array) -> dict[str, Any]:
        drawn = control.init(key, *inputs)["params"]
        return {name: tree for name, tree in drawn.items() if name not in theirs}

    key = jax.random.key(seed)
    own = jax.jit(new)(key)  # what the U-Net has is not even drawn
    shapes = jax.eval_shape(lambda key: control.init(key, *inputs), key)["params"]
    return BoundModule(control, {"params": {n: own.get(n, theirs.get(n)) for n in shapes}})
