"""The page that goes with a published model: what it is, how good, and how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diffax.models import parameter_count
from diffax.training.run import Run

_LEFT_OUT = ("complete", "images_per_second", "share_waiting_for_data")


def model_card(
    run: Run,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    *,
    name: str,
    licence: str,
    load: str,
) -> str:
    """A README.md in the hub's form: a head for machines, then a page for people.

    Args:
        run: what is published.
        config: its config as JSON, without what is nobody's business.
        summary: the figures of summary.json; {} where there are none.
        name: of the model.
        licence: the hub's word for the licence, such as apache-2.0.
        load: Python code that loads the model.
    """
    spec, objective = run.spec, config["objective"]
    classes = ", ".join(spec.class_names[:20]) + (", ..." if spec.class_names[20:] else "")
    facts = {
        "learned": _name({"class": objective["class"]}) + _of(objective.get("network")),
        "parameters": f"{parameter_count(run.trainable):,} learned, the average `{run.average}`",
        "steps": f"{run.step:,} of {run.config.train.batch_size:,} examples",
        "data": f"{_name(config['data'])}: {spec.size:,} examples of {list(spec.shape)}"
        + (f", {spec.num_classes} classes ({classes})" if classes else ""),
        "licence": licence,
    }
    figures = {key: value for key, value in summary.items() if key not in _LEFT_OUT}
    parts = [
        f"---\nlicense: {json.dumps(licence)}\nlibrary_name: diffax\n"
        "tags: [diffax, jax, diffusion]\n---",
        f"# {name}",
        "Trained with diffax, diffusion models in JAX.",
        _table(facts),
        f"## How to load it\n\n```python\n{load}\n```",
        "## Figures\n\n"
        + (_table({key: _figure(value) for key, value in figures.items()}) or "None were measured.")
        + "\n\nOf the run itself, at its last step.",
        "## Recipe\n\n```json\n" + json.dumps(config, indent=1) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _of(network: Any) -> str:
    return f" with {_name(network)}" if isinstance(network, Mapping) else ""


def _name(choice: Mapping[str, Any]) -> str:
    """A choice's name, with the name of its data set or folder where it has one."""
    more = [choice[key] for key in ("name", "dir", "path") if isinstance(choice.get(key), str)]
    kind = str(choice.get("class", "")).rpartition(":")[2]
    return " ".join([kind, *(f"`{text}`" for text in more if text)])


def _table(rows: Mapping[str, str]) -> str:
    if not rows:
        return ""
    lines = [f"| {name.replace('_', ' ')} | {text} |" for name, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
