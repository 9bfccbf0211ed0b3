"""After the last step: the curves, the animations and the summary."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

from diffax import atomic, plotting
from diffax.codecs import is_written
from diffax.generation import Model, Samples
from diffax.training import images
from diffax.training.distributed import is_first
from diffax.training.keeping.journal import read_rows
from diffax.training.keeping.workdir import read_summary
from diffax.training.run import Run
from diffax.training.state import TrainState


def finish(session: Any, state: TrainState) -> None:
    """Leaves the curves, the animations and the summary, unless they are there already.

    Args:
        session: of the loop.
        state: after the last step.
    """
    path = session.workdir / "summary.json"
    step = int(state.step)
    alone = jax.process_count() == 1  # a recipe's figures are computed by one process
    summary = read_summary(session.workdir) or {}
    if summary.get("step") == step and (summary.get("complete") or not alone):
        _print(session, summary)
        return
    config = session.config
    model = session.model(state)
    if config.train.images:
        samples = None if model is None else session.samples(model)
        if is_first():
            _leave_images(session, model, samples)
    summary = {"step": step, "images": step * config.train.batch_size}
    summary |= {k: v for k, v in session.saved_metrics.items() if k not in summary}
    summary |= session.speed
    summarize = session.recipe.summarize
    if summarize is not None and alone:
        summary |= summarize(_run(session, state, model))
    summary["complete"] = summarize is None or alone
    if is_first():
        atomic.write(path, (json.dumps(summary, indent=2) + "\n").encode(), durable=True)
        _print(session, summary)


def _leave_images(session: Any, model: Model | None, samples: Samples | None) -> None:
    folder = session.workdir
    rows, _ = read_rows(folder / "metrics.jsonl")
    curve = plotting.loss_curve(rows, title=session.recipe.title)
    plotting.save_image(folder / "loss.png", curve)
    if model is None or samples is None:
        return
    for name, image in (
        ("samples", images.grid(samples)),
        ("reverse", images.strip(model, samples)),
    ):
        if image is not None:
            plotting.save_image(folder / f"{name}.png", image)
    if is_written(samples.codec):
        data = np.asarray(samples.data)
        plotting.export(folder / f"samples{samples.codec.endings[0]}", data, codec=samples.codec)
    if not images.can_be_animated(model):
        return
    train, num = session.config.train, session.config.sample.num
    images.forward_images(
        folder,
        session.setup.dataset,
        model,
        num=num,
        frames=train.frames,
        strip_times=train.strip_times,
    )
    if samples.states is not None:
        images.reverse_animation(folder / "reverse.gif", model, samples, train.frames)


def _run(session: Any, state: TrainState, model: Model | None) -> Run:
    names = session.config.ema.names
    return Run(
        workdir=session.workdir,
        config=session.config,
        spec=session.setup.spec,
        step=int(state.step),
        average=names[0] if names else "none",
        model=model,
        objective=session.setup.objective,
        trainable=session.averaged(state),
        frozen=session.frozen,
    )


def _print(session: Any, summary: dict[str, Any]) -> None:
    session.say(f"summary of {session.workdir} ({session.recipe.title}):")
    for name, value in summary.items():
        if name != "complete":
            session.say(f"  {name.replace('_', ' ')}: {_figure(name, value)}")


def _figure(name: str, value: Any) -> str:
    if name == "share_waiting_for_data":
        return f"{100 * value:.2f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
