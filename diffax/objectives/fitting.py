"""Parts of a denoising run fitted to each other and to the data, or refused in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from diffax.data import Spec

# What a network leaves at None and the condition decides: field -> entry of the condition.
_SIZES = {
    "context_size": "context",
    "embedding_size": "embedding",
    "extra_channels": "channels",
    "frame_size": "frames",
}


def fitted(network: Any, objective: Any) -> Any:
    """The network with whatever it left open taken from its condition.

    Raises:
        ValueError: classes that do not fit, or a condition of which the network reads nothing.
    """
    shapes = objective.condition_shapes()
    changes: dict[str, Any] = {}
    classes = getattr(objective.conditioner, "num_classes", None)
    if hasattr(network, "num_classes") and "label" in shapes and classes is not None:
        if network.num_classes is None:
            changes["num_classes"] = classes
        elif network.num_classes < classes:
            raise ValueError(
                f"network.num_classes is {network.num_classes}, there are {classes} classes; "
                "leave it at None to take the data's"
            )
    elif getattr(network, "num_classes", None) is not None and "label" not in shapes:
        raise ValueError(
            f"network.num_classes is {network.num_classes}, and no classes reach the network: "
            "leave it at None, or take data and a conditioner with labels"
        )
    for field, entry in _SIZES.items():
        if hasattr(network, field) and getattr(network, field) is None and entry in shapes:
            changes[field] = shapes[entry][-1]
    wanted = getattr(network, "cross_attention_dim", None)
    if isinstance(wanted, int) and "context" in shapes and shapes["context"][-1] != wanted:
        raise ValueError(
            f"the network reads texts of width {wanted}, the conditioner gives "
            f"{shapes['context'][-1]}: parts of different models; take both from one"
        )
    if objective.variance is not None and hasattr(network, "learned_variance"):
        changes["learned_variance"] = True
    if objective.augmentation is not None:
        if not hasattr(network, "augment_size") or len(objective.shape) != 3:
            raise ValueError(
                f"augmentation: expected images and a network with augment_size (song_unet, adm), "
                f"got data {list(objective.shape)} and {type(network).__name__}"
            )
        changes["augment_size"] = objective.augmentation.size
    network = network.clone(**changes) if changes else network
    read = set(getattr(network, "reads", shapes)) & set(shapes)
    if shapes and not read:
        raise ValueError(
            f"{type(network).__name__} reads {', '.join(network.reads) or 'no condition'}, the "
            f"conditioner gives {', '.join(shapes)}; use another network or --conditioner nothing"
        )
    return network


def check_captions(spec: Spec, conditioner: Any) -> None:
    """Captions that were asked for reach a network, or the run does not begin."""
    if "caption" in spec.columns and "caption" not in conditioner.reads:
        raise ValueError(
            "data.captions is on, but nothing reads them: set --conditioner captions, or "
            "--data.captions False"
        )


def told(conditioner: Any, spec: Spec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what one example says.

    Raises:
        ValueError: a column that the data do not have.
    """
    missing = [name for name in conditioner.reads if name not in spec.columns]
    if missing:
        raise ValueError(
            f"conditioner {type(conditioner).__name__} reads {', '.join(missing)}, the data have "
            f"{', '.join(spec.columns)}; use other data or another conditioner"
        )
    told = conditioner.columns(spec.blank())
    return {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in told.items()}


def sources(recipe: Any) -> dict[str, str]:
    """Where frozen and starting parameters come from, by part."""
    found = {}
    for part in ("network", "codec", "conditioner"):
        noun = getattr(recipe, part)
        # Every Flax module has a `path` of another meaning.
        if noun is not None and "path" in {f.name for f in dataclasses.fields(noun)}:
            found[part] = str(noun.path)
    return found
