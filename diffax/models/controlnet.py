"""ControlNet (Zhang et al. 2023): a trainable copy of a U-Net's encoder that adds to its skips."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from diffax.models import fields, unet_encoder
from diffax.models.blocks.style import Style
from diffax.models.bound import BoundModule
from diffax.models.condition import Condition, checked
from diffax.models.unet_condition import UNet2DConditionModel
from diffax.models.unet_encoder import ConditionalEncoder

# The values that the network knows, by field.
CHOICES = {**unet_encoder.CHOICES, "controlnet_conditioning_channel_order": ("rgb", "bgr")}

_ZEROS = nn.initializers.zeros


class Residuals(NamedTuple):
    """What a ControlNet adds to a U-Net.

    Attributes:
        down: `[B, h, w, C]` for each skip, the input convolution's first.
        mid: `[B, h, w, C]` for the middle block's output.
    """

    down: tuple[jax.Array, ...]
    mid: jax.Array


class _HintEmbedding(nn.Module):
    """Convolutions from an image down to the latents' size (Zhang et al. 2023, section 3.2)."""

    style: Style
    widths: tuple[int, ...]
    features: int

    @nn.compact
    def __call__(self, hint: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to `[B, h, w, features]`; every width but the first halves a side."""
        h = nn.silu(self.style.conv(self.widths[0], "conv_in")(hint))
        for i, (before, after) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            h = nn.silu(self.style.conv(before, f"blocks_{2 * i}")(h))
            down = self.style.conv(after, f"blocks_{2 * i + 1}", stride=2, padding=((1, 1), (1, 1)))
            h = nn.silu(down(h))
        return self.style.conv(self.features, "conv_out", kernel_init=_ZEROS)(h)


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
        expected = (*(n * self.factor for n in x.shape[1:3]), self.conditioning_channels)
        if hint.shape[1:] != expected:
            raise ValueError(
                f"expected a control image of shape {list(expected)}, got {list(hint.shape[1:])}: "
                "resize it to the samples' size"
            )
        if self.controlnet_conditioning_channel_order == "bgr":
            hint = hint[..., ::-1]
        style, channels = self._style(), self.block_out_channels
        temb = self._time_embedding(t, condition, style)
        context = condition["context"].astype(self.dtype)
        x = style.conv(channels[0], "conv_in")(x)
        embedding = _HintEmbedding(
            style,
            self.conditioning_embedding_out_channels,
            channels[0],
            name="controlnet_cond_embedding",
        )
        x = x + embedding(hint.astype(self.dtype))
        x, skips = self._down(x, temb, context, style, train)
        x = self._middle(x, temb, context, style, train)

        def zero_convolution(h: jax.Array, name: str) -> jax.Array:
            out = style.conv(h.shape[-1], name, size=1, kernel_init=_ZEROS)(h)
            if self.global_pool_conditions:
                out = jnp.mean(out, axis=(1, 2), keepdims=True, dtype=jnp.float32)
            return out

        down = tuple(
            zero_convolution(skip, f"controlnet_down_blocks_{i}") for i, skip in enumerate(skips)
        )
        return Residuals(down, zero_convolution(x, "controlnet_mid_block"))


class ControlledUNet(nn.Module):
    """A U-Net with one or several ControlNets, whose residuals are added up.

    Its parameters are `{"unet": ..., "controls_0": ..., ...}`; see `controlled`.

    Attributes:
        unet: the network that denoises.
        controls: the ControlNets; each takes its channels of "control" in turn.
    """

    unet: UNet2DConditionModel
    controls: tuple[ControlNetModel, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it can be told."""
        return (*self.unet.reads, "control", "control_scale")

    @property
    def in_channels(self) -> int:
        """Input channels of the U-Net."""
        return self.unet.in_channels

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
    module = ControlledUNet(cast(UNet2DConditionModel, unet.module), copies)
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
    if not isinstance(unet, UNet2DConditionModel):
        raise ValueError(
            f"a ControlNet needs a text-conditional U-Net, this is {type(unet).__name__}"
        )
    names = ("block_out_channels", "layers_per_block", "cross_attention_dim")
    for name in (*names, "addition_embed_type"):
        own, theirs = getattr(control, name), getattr(unet, name)
        if own != theirs:
            raise ValueError(
                f"this ControlNet was made for another base model: its {name} is {own}, the "
                f"U-Net's {theirs}"
            )


def control_for(unet: UNet2DConditionModel, **changes: Any) -> ControlNetModel:
    """A ControlNet with the fields of a U-Net.

    Args:
        unet: whose encoder is to be copied.
        **changes: fields of the ControlNet, such as `conditioning_channels`.
    """
    own = {f.name for f in dataclasses.fields(ConditionalEncoder)} - {"parent", "name"}
    return ControlNetModel(**{name: getattr(unet, name) for name in own} | changes)
