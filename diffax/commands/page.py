"""The page of `diffax demo`: what can be asked of a model, as fields, and its answer."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from diffax import plotting
from diffax.commands.opening import Opened
from diffax.data import pixels
from diffax.generation import generate
from diffax.generation.edit import instructed
from diffax.pretrained.plan import SCHEDULERS
from diffax.solvers import registry

_OWN = "the model's own"
_ALL = "all in turn"
# A browser that keeps to this asks no other machine for anything.
_POLICY = (
    b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: blob:"
)


def page_of(source: Opened) -> Any:
    """The page, a `gradio.Blocks`.

    Args:
        source: the model, and where it came from; only what it understands gets a field.
    """
    import gradio as gr

    model = source.model
    asks, settings = model.conditioner.asks, model.settings
    with gr.Blocks(title="diffax", analytics_enabled=False) as page:
        gr.Markdown(f"# {source.name}")
        said: dict[str, Any] = {}
        with gr.Row():
            with gr.Column():
                if "prompt" in asks:
                    said["prompt"] = gr.Textbox(label="Prompt")
                    said["negative"] = gr.Textbox(label="Negative prompt")
                if "labels" in asks:
                    names = _class_names(model.conditioner)
                    said["label"] = gr.Dropdown([_ALL, *names], value=_ALL, label="Class")
                with gr.Row():
                    said["num"] = gr.Slider(1, 64, source.num, step=1, label="Samples")
                    said["seed"] = gr.Number(settings.seed, precision=0, label="Seed")
                with gr.Row():
                    said["sampler"] = gr.Dropdown(_samplers(source), value=_OWN, label="Sampler")
                    said["steps"] = gr.Slider(1, 250, settings.steps, step=1, label="Steps")
                if asks:
                    said["guidance"] = gr.Slider(
                        0, 15, settings.guidance or 1, step=0.1, label="Guidance"
                    )
                if len(model.shape) == 3:
                    with gr.Accordion("Start from an image", open=False):
                        said["drawing"] = gr.ImageEditor(
                            label="Image; what is painted over is made anew",
                            type="numpy",
                            sources=["upload", "clipboard"],
                            brush=gr.Brush(colors=["#ffffff"], color_mode="fixed"),
                        )
                        said["strength"] = gr.Slider(
                            0.01, 1, source.strength, step=0.01, label="Strength, without a mask"
                        )
                said["watch"] = gr.Checkbox(False, label="Watch the denoising")
                button = gr.Button("Generate", variant="primary", elem_id="generate")
            with gr.Column():
                image = gr.Image(
                    label="Samples",
                    type="filepath",
                    buttons=["download", "fullscreen"],
                    elem_id="samples",
                )
                told = gr.Markdown(elem_id="told")
        folder = tempfile.TemporaryDirectory(prefix="diffax-demo-")  # goes with the page

        def answer(*values: Any) -> tuple[str, str]:
            try:
                return _drawn(source, dict(zip(said, values, strict=True)), Path(folder.name))
            except ValueError as error:
                raise gr.Error(str(error)) from error

        button.click(answer, list(said.values()), [image, told], api_name="generate")
    return page


def serve(page: Any, host: str, port: int) -> None:
    """Serves a page until the process is told to end; no request leaves the machine.

    Args:
        page: see `page_of`.
        host: 127.0.0.1 shows it to this machine alone.
        port: 1 to 65535.

    Raises:
        OSError: the port is taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        app_kwargs={"middleware": [Middleware(Contained)]},
    )


class Contained:
    """ASGI middleware: every answer forbids the browser to ask other machines."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""

        async def contained(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY)
                message = {**message, "headers": [*message.get("headers", []), policy]}
            await send(message)

        await self._app(scope, receive, contained)


def _drawn(source: Opened, said: dict[str, Any], folder: Path) -> tuple[str, str]:
    """The path of the image, and a line on how it came about."""
    began = time.perf_counter()
    samples = generate(source.model, **asked(source, said))
    path = folder / f"{time.time_ns()}.{'png' if samples.states is None else 'gif'}"
    plotting.export(
        path,
        np.asarray(samples.data),
        labels=samples.label,
        trajectory=samples.decoded_states(),
        times=samples.times,
    )
    return str(path), f"{len(samples)} samples in {time.perf_counter() - began:.1f} s"


def asked(source: Opened, said: dict[str, Any]) -> dict[str, Any]:
    """The fields of the page as those of a `Request`.

    Args:
        source: the model.
        said: what each field of the page holds, by name.
    """
    fields: dict[str, Any] = {
        "num": int(said["num"]),
        "seed": int(said["seed"]),
        "steps": int(said["steps"]),
        "trajectory": bool(said["watch"]),
    }
    if said["sampler"] != _OWN:
        fields["sampler"] = said["sampler"]
    if "guidance" in said:
        fields["guidance"] = float(said["guidance"])
    for name in ("prompt", "negative"):
        if (said.get(name) or "").strip():
            fields[name] = said[name]
    if said.get("label", _ALL) != _ALL:
        fields["labels"] = said["label"]
    return fields | _edit(source, said)


def _edit(source: Opened, said: dict[str, Any]) -> dict[str, Any]:
    """Image, mask and strength; nothing where there is no image."""
    drawing = said.get("drawing")
    if drawing is None or drawing.get("background") is None:
        return {}
    model = source.model
    background = np.asarray(drawing["background"])
    if not np.any(background[..., 3:] if background.shape[-1] == 4 else True):
        return {}  # an empty canvas
    shape = background.shape
    height, width = model.shape[:2] if source.fixed_size else _multiple(shape, model.factor)
    size = (height, width)
    channels = 3 if model.factor > 1 else model.shape[-1]
    image = background[..., :3]
    if channels == 1:
        image = np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    fields: dict[str, Any] = {"image": pixels.fit(image, size)}
    painted = [np.asarray(layer)[..., 3] > 0 for layer in drawing.get("layers") or ()]
    mask = np.any(painted, axis=0) if painted else np.zeros(image.shape[:2], bool)
    if mask.any():
        white = 255 * mask[..., None].astype(np.uint8)
        fields["mask"] = pixels.fit(white, size)[..., 0] > 127
    elif not instructed(model):
        fields["strength"] = float(said["strength"])
    return fields


def _multiple(size: tuple[int, ...], of: int) -> tuple[int, int]:
    """Height and width cut to a whole number of latents."""
    step = max(8, of) if of > 1 else 1
    height, width = (max(step, n // step * step) for n in size[:2])
    return height, width


def _samplers(source: Opened) -> list[str]:
    """Those that this kind of model can be sampled with."""
    if not source.fixed_size:
        return [_OWN, *SCHEDULERS]
    return [_OWN, *(n for n, e in registry.SOLVERS.items() if not e.description.backwards)]


def _class_names(conditioner: Any) -> list[str]:
    """Of the classes; their numbers where they have no names."""
    parts = getattr(conditioner, "parts", (conditioner,))
    labels = next(part for part in parts if "labels" in part.asks)
    return list(labels.names) or [str(i) for i in range(labels.num_classes or 0)]
