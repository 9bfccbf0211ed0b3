"""A run as others load it: a folder with a model card, and that folder on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from diffax import atomic
from diffax.pretrained import PublishedReader
from diffax.training.card import model_card
from diffax.training.exporting import export_run
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.keeping.workdir import read_summary
from diffax.training.run import Run, open_run, run_folder
from diffax.training.state import TrainState

_FILES = {  # of what `export_run` writes, the name by which the common libraries look for it
    "lora": "pytorch_lora_weights.safetensors",
    "embedding": "learned_embeds.safetensors",
}
_ADDED = {  # how an add-on gets to its base: what is imported, and the line
    "lora": ("load_lora, with_loras", 'with_loras(base, (load_lora("{name}", base), 1.0))'),
    "embedding": ("with_embedding", 'with_embedding(base, "{name}/learned_embeds.safetensors")'),
    "controlnet": ("load_network", 'diffax.generation.with_controls(base, load_network("{name}"))'),
}


def save_run(
    workdir: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
    ema: str | None = None,
    step: int | None = None,
    objective: Any = None,
) -> str:
    """Writes what a run learned as a folder for others, with a model card.

    A tuned published model is written in the common layout of its kind (see `export_run`), any
    other as a run's folder with one set of weights, for `load_run`; neither can be continued, both
    can be started from. Of folders of this machine that the config names only the last part is
    kept.

    Args:
        workdir: the run's folder.
        out: made; nothing is overwritten.
        name: of the model; None: the folder's. With `push`, say ORG/NAME: the card's code loads it.
        licence: the hub's word for it, such as apache-2.0 or cc-by-4.0.
        ema: see `load_run`.
        step: see `load_run`.
        objective: see `open_run`.

    Returns:
        What it is: "run", or a kind of `export_run`.

    Raises:
        FileExistsError: `out` is there.
        ValueError, FileNotFoundError: as `load_run`.

    Example:
        >>> save_run("runs/digits", "digits", name="me/digits", licence="mit")  # doctest: +SKIP
        'run'
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists; give another name or remove it first")
    workdir = run_folder(workdir, step)
    run = open_run(workdir, ema, step, objective=objective)
    name = name or out.resolve().name
    record = Checkpoints(workdir / "checkpoints").record(run.step)
    config = _published(record["config"])
    if isinstance(getattr(run.config.objective, "conditioner", None), PublishedReader):
        kind = _save_tuned(workdir, out, ema, run.step)
    else:
        kind = "run"
        _save_weights(run, out, record | {"config": config})
    summary = read_summary(workdir) or {}
    summary = summary if summary.get("step") == run.step else {}
    load = _loading(kind, name, config["objective"])
    card = model_card(run, config, summary, name=name, licence=licence, load=load)
    atomic.write(out / "README.md", card.encode())
    if kind == "run":
        _write_json(out / "config.json", {"recipe": "published", "config": config})
        _write_json(out / "summary.json", {"step": run.step} | summary)
    return kind


def push(folder: str | Path, repo: str, *, private: bool = False) -> str:
    """Puts a folder of `save_run` on the hub, in one commit.

    Args:
        folder: see `save_run`.
        repo: ORG/NAME; made where it is missing. You are whom `hf auth login` knows.
        private: whether only its owner sees it, where it is made.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: no such folder, or one without a model card.
        ValueError: the package is missing, or the hub refuses; one line.
    """
    folder = Path(folder)
    if not (folder / "README.md").is_file():
        raise FileNotFoundError(f"{folder} holds no README.md; make the folder with save_run")
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("push needs huggingface_hub: pip install 'diffax[hub]'") from error
    try:
        huggingface_hub.create_repo(repo, private=private, exist_ok=True)
        done = huggingface_hub.upload_folder(repo_id=repo, folder_path=str(folder))
    except Exception as error:  # of the hub's many kinds
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{repo}: the hub refused ({type(error).__name__}: {text})") from error
    return str(done.commit_url)


def _loading(kind: str, name: str, objective: dict[str, Any]) -> str:
    """Code that loads the model, once it is on the hub."""
    if kind in ("run", "pipeline"):
        call = f'load_run("hf:{name}")' if kind == "run" else f'load_pipeline("{name}")'
        return f"import diffax\n\nmodel = diffax.{call}"
    names, line = _ADDED[kind]
    return (
        f"import diffax\nfrom diffax.pretrained import {names}\n\n"
        f'base = diffax.load_pipeline("{objective["conditioner"]["path"]}")\n'
        f"model = {line.format(name=name)}"
    )


def _save_tuned(workdir: Path, out: Path, ema: str | None, step: int) -> str:
    """What `export_run` writes, at the place where the common libraries look for it."""
    beside = out.parent / f".{out.name}.part"
    kind = export_run(workdir, beside / "weights.safetensors", ema, step)
    file = _FILES.get(kind, "")
    (beside / "weights.safetensors").rename(beside / file if file else out)
    beside.rename(out) if file else beside.rmdir()
    return kind


def _save_weights(run: Run, out: Path, record: dict[str, Any]) -> None:
    """One checkpoint with one set of weights."""
    zero = jnp.zeros((), jnp.int32)
    state = TrainState(run.trainable, (), {}, zero + run.step, zero, jax.random.key(0))
    checkpoints = Checkpoints(out / "checkpoints")
    checkpoints.save(state, record | {"averages": [], "window": {}})
    checkpoints.wait()
    checkpoints.close()


def _published(config: dict[str, Any]) -> dict[str, Any]:
    """The config without averages that are not there, and without the places of this machine."""
    none = {"decays": [], "half_lives": [], "widths": []}
    return _without_places(config) | {"ema": config["ema"] | none}


def _without_places(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {
        name: Path(value).name
        if isinstance(value, str) and Path(value).is_absolute()
        else _without_places(value)
        for name, value in tree.items()
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    atomic.write(path, (json.dumps(content, indent=2) + "\n").encode())
