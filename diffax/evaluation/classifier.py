"""Features of data without any published weights: of a classifier that learns them in a minute.

Where data have no classes, images get some: which quarter turn was given to them (Gidaris et al.
2018). A network has to know what they show to see it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

from diffax.compilation import jit
from diffax.data import Dataset
from diffax.evaluation.features import FeatureNetwork, feature_network
from diffax.models import BoundModule, SmallClassifier
from diffax.noun import check_range

_CALL = 50  # steps in one compiled call


@dataclass(frozen=True)
class Classifier:
    """A small network, trained on the spot on the run's own data.

    It learns the data's classes; of images without any, which quarter turn they were given.

    The same data, seed and machine give the same network. Its figures compare runs on these data,
    and with nothing else; they are not called FID.

    Example:
        >>> from diffax.data import Toy
        >>> data = Toy("moons", num=400).load()
        >>> network = Classifier(steps=50).load(data)
        >>> network(data.arrays()["x"]).logits.shape
        (400, 2)
    """

    steps: int = 600
    """Training steps, rounded up to whole calls of 50."""
    batch_size: int = 128
    """Examples of a training step, and later of a compiled call."""
    learning_rate: float = 2e-3
    """Of Adam, at the beginning; it falls to zero by a cosine."""
    width: int = 64
    """How many features there are."""
    seed: int = 0
    """Of first weights and of the data's order."""

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in ("steps", "batch_size", "width"):
            check_range(f"classifier {name}", getattr(self, name), least=1)
        check_range("classifier learning_rate", self.learning_rate, above=0)

    def load(self, dataset: Dataset | None = None) -> FeatureNetwork:
        """The network, trained.

        Args:
            dataset: what the run trains on: uint8 images, or vectors with labels.

        Raises:
            ValueError: no data, vectors without labels, or data that are neither images nor
                vectors.
        """
        if dataset is None or not (dataset.spec.num_classes or dataset.spec.is_image):
            raise ValueError(
                "features of a classifier need images or labelled data to learn from, got "
                f"{'none' if dataset is None else dataset.title + ' without labels'}; choose other "
                "features, or data with labels (--data.labels True)"
            )
        spec = dataset.spec
        if not spec.is_image and (len(spec.shape) != 1 or spec.mean is None or spec.std is None):
            raise ValueError(
                f"a classifier learns from images or vectors, {dataset.title} has examples of "
                f"shape {list(spec.shape)}"
            )
        classes = spec.num_classes or _turns(spec.shape)
        module = SmallClassifier(classes, self.width, spec.mean or (), spec.std or ())
        # Processes on unlike machines would learn almost the same.
        params = multihost_utils.broadcast_one_to_all(self._trained(module, dataset))
        name = "classifier" if spec.num_classes else "classifier of turns"
        return feature_network(name, module, params, batch_size=self.batch_size)

    def _trained(self, module: SmallClassifier, dataset: Dataset) -> Any:
        def batches(step: int) -> dict[str, np.ndarray]:
            drawn = dataset.batches(step, _CALL, seed=self.seed, batch_size=self.batch_size)
            if not dataset.spec.num_classes:
                return _turned(drawn["x"])
            return {name: drawn[name] for name in ("x", "label")}

        steps = -(-self.steps // _CALL) * _CALL
        method = optax.adam(optax.cosine_decay_schedule(self.learning_rate, steps))
        params = jax.jit(module.init)(jax.random.key(self.seed), batches(0)["x"][0, :1])
        state = (params, method.init(params))
        train = jit(functools.partial(_train, module, method), donate_argnums=0)
        for step in range(0, steps, _CALL):
            state, losses = train(state, batches(step))
            if not bool(jnp.isfinite(losses).all()):
                raise ValueError(
                    f"the classifier's loss is not finite after step {step}; set a smaller "
                    "learning_rate"
                )
        return state[0]


def _turns(shape: tuple[int, ...]) -> int:
    """How many quarter turns images can be told by: those that keep their shape."""
    return 4 if shape[0] == shape[1] else 2


def _turned(images: np.ndarray) -> dict[str, np.ndarray]:
    """Images `[k, B, H, W, C]` turned in turn, and by how much."""
    turns = _turns(images.shape[2:])
    label = np.arange(images.shape[1], dtype=np.int32) % turns
    turned = images.copy()
    for turn in range(1, turns):
        quarters = turn * 4 // turns
        turned[:, turn::turns] = np.rot90(images[:, turn::turns], quarters, axes=(2, 3))
    return {"x": turned, "label": np.tile(label, (len(images), 1))}


def _train(
    module: SmallClassifier, method: optax.GradientTransformation, state: Any, batches: Any
) -> tuple[Any, jax.Array]:
    """Several steps: one for each of the stacked batches."""

    def loss(params: Any, batch: Any) -> jax.Array:
        logits = BoundModule(module, params)(batch["x"]).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

    def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        params, memory = state
        value, gradient = jax.value_and_grad(loss)(params, batch)
        update, memory = method.update(gradient, memory, params)
        return (optax.apply_updates(params, update), memory), value

    return jax.lax.scan(step, state, batches)
