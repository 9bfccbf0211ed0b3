"""Autoencoders: images through a narrow place and back, for latent diffusion to live in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffax import image_range
from diffax.codecs import Latent
from diffax.data import Spec
from diffax.losses import KL, Codes, Gradients, assignment, running_mean
from diffax.losses.adversarial import balance, hinge_discriminator, hinge_generator
from diffax.models import AutoencoderKL, PatchDiscriminator
from diffax.objectives.objective import ASSIGNED, Batch, Mean

_STATISTICS = 0.999  # decay of the running moments of latents


@dataclass(frozen=True)
class Adversary:
    """A discriminator of patches, and how much its opinion counts (Esser et al. 2021)."""

    weight: float = 0.5
    """Of the adversarial loss, after balancing, >= 0."""
    start: int = 0
    """Steps of plain training before both players begin."""
    balanced: bool = True
    """Scale it to the reconstruction's gradient at the decoder's last layer."""
    channels: int = 64
    """Width of the discriminator's first layer."""
    layers: int = 3
    """Halvings; three look at patches of 70 x 70 pixels."""

    def __post_init__(self) -> None:
        """Checks every number."""
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"adversary.weight must be >= 0 and finite, got {self.weight}")
        if self.start < 0:
            raise ValueError(f"adversary.start must be >= 0, got {self.start}")
        self.discriminator  # noqa: B018  # its fields are checked as it is made

    @property
    def discriminator(self) -> PatchDiscriminator:
        """The network."""
        return PatchDiscriminator(self.channels, self.layers)


@dataclass(frozen=True)
class Autoencoder:
    """An autoencoder learns to give images back (Rombach et al. 2022, section 3.1).

    Its run is a codec: `load_codec`, and `codec: run` in the recipe of a diffusion model.

    Example:
        >>> from diffax.data import Column, Spec
        >>> recipe = Autoencoder(AutoencoderKL(norm_num_groups=8, block_out_channels=(16,)))
        >>> recipe.build(Spec({"x": Column((8, 8, 1), "uint8")}, size=4)).autoencoder.in_channels
        1
    """

    autoencoder: Any = AutoencoderKL()
    """The network: autoencoder_kl, vq_model, published (to start from)."""
    regularizer: Any = None
    """What keeps latents in shape: kl, codes, plain; None: kl, or codes for vq_model."""
    reconstruction: Literal["l1", "l2"] = "l1"
    """Absolute or squared error of the pixels."""
    perceptual: Any = field(default_factory=Gradients)
    """What looks alike: gradients, lpips (weights from a file); None: pixels only."""
    adversary: Adversary | None = None
    """patch: a second player who tells images from reconstructions; None: no such loss."""
    noise: float = 0.0
    """Standard deviation, >= 0, of noise on the encoder's images (Vincent et al. 2008)."""

    def __post_init__(self) -> None:
        """Checks the noise."""
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ValueError(f"objective.noise must be >= 0 and finite, got {self.noise}")

    def build(self, spec: Spec) -> AutoencoderObjective:
        """The objective for data that say this of themselves.

        Raises:
            ValueError: no images, sides that cannot be halved, or a regularizer for other networks.
        """
        column = spec.columns["x"]
        if not spec.is_image:
            raise ValueError(
                "an autoencoder is trained on images, uint8 [H, W, C]; the data are "
                f"{column.dtype} {list(column.shape)}"
            )
        autoencoder, loaded, sources = self.autoencoder, {}, {}
        if hasattr(autoencoder, "open"):
            sources["autoencoder"] = str(autoencoder.path)
            autoencoder, loaded["autoencoder"] = autoencoder.open()
        height, width, channels = column.shape
        if height % autoencoder.factor or width % autoencoder.factor:
            raise ValueError(
                f"the autoencoder halves images to 1/{autoencoder.factor}, the data are "
                f"{height}x{width}; set data.image_size to a multiple of {autoencoder.factor}, or "
                "give autoencoder.block_out_channels fewer entries"
            )
        if "autoencoder" not in loaded:
            autoencoder = autoencoder.clone(in_channels=channels, out_channels=channels)
        quantizes = hasattr(autoencoder, "num_vq_embeddings")
        regularizer = self.regularizer or (Codes() if quantizes else KL())
        if regularizer.quantizes != quantizes:
            raise ValueError(
                f"regularizer {type(regularizer).__name__} does not fit "
                f"{type(autoencoder).__name__}; codes go with vq_model, kl and plain with "
                "autoencoder_kl"
            )
        if self.perceptual is not None and self.perceptual.path is not None:
            loaded["perceptual"] = self.perceptual.open()
            sources["perceptual"] = str(self.perceptual.path)
        return AutoencoderObjective(
            autoencoder=autoencoder,
            regularizer=regularizer,
            reconstruction=self.reconstruction,
            perceptual=self.perceptual,
            adversary=self.adversary,
            noise=self.noise,
            shape=column.shape,
            loaded=loaded,
            sources=sources,
        )


@dataclass(frozen=True)
class AutoencoderObjective:
    """`Autoencoder`, built for images of one size; see `Objective`.

    Both players learn in one step: in the generator's terms the discriminator's parameters stand
    still, in the discriminator's the reconstruction does.

    Attributes, besides those of `Autoencoder`:
        shape: of an image.
        loaded: see `Objective`.
        sources: see `Objective`.
    """

    autoencoder: Any
    regularizer: Any
    reconstruction: str
    perceptual: Any
    adversary: Adversary | None
    noise: float
    shape: tuple[int, ...]
    loaded: Any
    sources: Mapping[str, str]

    def columns(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images."""
        return {"x": batch["x"]}

    def init(self, key: Array, batch: Batch, loaded: Any) -> tuple[Any, Any]:
        """`(trainable, frozen)`."""
        network_key, discriminator_key = jax.random.split(key)
        images = jnp.zeros((1, *self.shape))
        params = loaded.get("autoencoder")
        if params is None:
            params = self.autoencoder.init(network_key, images)
        params, book = _without_book(params) if self._assigns_book else (params, _book(params))
        zero = jnp.zeros(())
        assigned = {
            "steps": zero,
            "latents": {"mean": zero, "square": zero},
            "regularizer": self.regularizer.init(book),
        }
        trainable = {"autoencoder": params, ASSIGNED: assigned}
        if self.adversary is not None:
            made = self.adversary.discriminator.init(discriminator_key, images)
            trainable["discriminator"] = made
        return trainable, {n: loaded[n] for n in ("perceptual",) if n in loaded}

    def loss(
        self, trainable: Any, frozen: Any, batch: Batch, key: Array, train: bool = True
    ) -> tuple[Array, dict[str, Array | Mean]]:
        """Reconstruction + perceptual + regularizer + both players' terms, and what they are."""
        images = image_range.to_float(batch["x"])
        noise_key, latent_key = jax.random.split(key)
        assigned = trainable[ASSIGNED]
        seen = images
        if train and self.noise:
            seen = images + self.noise * jax.random.normal(noise_key, images.shape)
        params = trainable["autoencoder"]
        answer = self.autoencoder.apply(params, seen, method="encode")
        latents = self.regularizer(
            answer, _book(params), assigned["regularizer"], latent_key, math.prod(self.shape)
        )
        # The decoder as a function of its last layer, whose gradients balance the two players.
        decoded, pullback = jax.vjp(self._decoder(params, latents, train), _last_layer(params))

        def likeness(decoded: Array) -> tuple[Array, dict[str, Array]]:
            return self._likeness(frozen, images, decoded)

        value, metrics = likeness(decoded)
        value += latents.penalty
        metrics |= latents.metrics | {"psnr": jnp.mean(_psnr(images, decoded))}
        if self.adversary is not None:
            added, more = self._players(
                trainable["discriminator"],
                images,
                decoded,
                pullback,
                lambda decoded: likeness(decoded)[0],
                assigned["steps"],
            )
            value += added
            metrics |= more
        metrics["latent_mean"], metrics["latent_std"] = _moments(assigned["latents"])
        becomes = self._assigned(assigned, latents)
        return value + assignment(assigned, becomes), metrics

    def check_sampling(self, settings: Any) -> None:
        """An autoencoder alone is not sampled: any settings will do."""

    def model(self, trainable: Any, frozen: Any, settings: Any) -> None:
        """None: an autoencoder alone makes no samples."""

    def learned_codec(self, trainable: Any, frozen: Any) -> Latent:
        """The autoencoder as a codec, whose latents have mean 0 and standard deviation 1.

        Where the network knows no shift (vq_model), the mean stays.
        """
        mean, std = (float(value) for value in _moments(trainable[ASSIGNED]["latents"]))
        known = {"scaling_factor": 1 / std if std > 0 else 1.0}
        if hasattr(self.autoencoder, "shift_factor"):
            known["shift_factor"] = mean
        params = trainable["autoencoder"]
        if self._assigns_book:
            book = self.regularizer.book(trainable[ASSIGNED]["regularizer"])
            params = _with_book(params, book)
        return Latent(self.autoencoder.clone(**known), params)

    @property
    def _assigns_book(self) -> bool:
        """Whether the codes follow the latents instead of being learned."""
        return self.regularizer.quantizes and self.regularizer.decay is not None

    def _decoder(self, params: Any, latents: Any, train: bool) -> Callable[[Array], Array]:
        """The decoder's answer as a function of its last layer's kernel."""
        quantized = {"quantize": False} if self.regularizer.quantizes else {}
        z = latents.shown if train or self.regularizer.quantizes else latents.plain

        def decode(kernel: Array) -> Array:
            changed = _with_last_layer(params, kernel)
            return self.autoencoder.apply(changed, z, method="decode", **quantized)

        return decode

    def _likeness(
        self, frozen: Any, images: Array, decoded: Array
    ) -> tuple[Array, dict[str, Array]]:
        """How far the copies are from the images: pixels, and what they look like."""
        error = decoded - images
        each = jnp.abs(error) if self.reconstruction == "l1" else error**2
        value = jnp.mean(each, dtype=jnp.float32)
        metrics = {"reconstruction": value}
        if self.perceptual is not None:
            seen = self.perceptual(frozen.get("perceptual", {}), images, decoded)
            metrics["perceptual"] = seen
            value += self.perceptual.weight * seen
        return value, metrics

    def _players(
        self,
        params: Any,
        images: Array,
        decoded: Array,
        pullback: Callable[[Array], Any],
        likeness: Callable[[Array], Array],
        steps: Array,
    ) -> tuple[Array, dict[str, Array]]:
        """What the adversary adds to the loss: the generator's term, and its own."""
        adversary = self.adversary
        if adversary is None:
            raise ValueError("there is no adversary")
        still = jax.lax.stop_gradient

        def judged(params: Any, images: Array) -> Array:
            # Flax says "or a pair", which only `mutable` gives.
            return cast(Array, adversary.discriminator.apply(params, images))

        def passing(decoded: Array) -> Array:
            return hinge_generator(judged(still(params), decoded))

        weight = jnp.float32(adversary.weight)
        if adversary.balanced:
            weight *= balance(likeness, passing, still(decoded), lambda slope: pullback(slope)[0])
        begun = (steps >= adversary.start).astype(jnp.float32)
        generator = passing(decoded)
        discriminator = hinge_discriminator(judged(params, images), judged(params, still(decoded)))
        metrics = {
            "generator": generator,
            "discriminator": discriminator,
            "adversary_weight": begun * weight,
        }
        return begun * (weight * generator + discriminator), metrics

    def _assigned(self, assigned: Any, latents: Any) -> Any:
        """The counts and running moments after this batch."""
        made = assigned["steps"]
        z = jax.lax.stop_gradient(latents.plain)
        now = {
            "mean": jnp.mean(z, dtype=jnp.float32),
            "square": jnp.mean(z**2, dtype=jnp.float32),
        }
        return {
            "steps": made + 1,
            "latents": {
                name: running_mean(assigned["latents"][name], value, made, _STATISTICS)
                for name, value in now.items()
            },
            "regularizer": latents.state,
        }


def _moments(latents: Any) -> tuple[Array, Array]:
    """Mean and standard deviation from running moments."""
    mean = latents["mean"]
    return mean, jnp.sqrt(jnp.maximum(latents["square"] - mean**2, 0))


def _psnr(images: Array, decoded: Array) -> Array:
    """Peak signal-to-noise ratio of each image, in decibel `[B]`; the range is -1 to 1."""
    error = (images - jnp.clip(decoded, -1, 1)) ** 2
    mse = jnp.mean(error, axis=(1, 2, 3), dtype=jnp.float32)
    return 10 * jnp.log10(4 / jnp.maximum(mse, 1e-10))


# ---------------------------------------------------------------- places in the parameters


def _last_layer(params: Any) -> Array:
    return params["params"]["decoder"]["conv_out"]["kernel"]


def _with_last_layer(params: Any, kernel: Array) -> Any:
    decoder = params["params"]["decoder"]
    decoder = decoder | {"conv_out": decoder["conv_out"] | {"kernel": kernel}}
    return {"params": params["params"] | {"decoder": decoder}}


def _book(params: Any) -> Array | None:
    """The codes among the parameters, where there are any."""
    quantizer = params["params"].get("quantize")
    return None if quantizer is None else quantizer["embedding"]["embedding"]


def _without_book(params: Any) -> tuple[Any, Array | None]:
    rest = {name: part for name, part in params["params"].items() if name != "quantize"}
    return {"params": rest}, _book(params)


def _with_book(params: Any, book: Array) -> Any:
    return {"params": params["params"] | {"quantize": {"embedding": {"embedding": book}}}}
