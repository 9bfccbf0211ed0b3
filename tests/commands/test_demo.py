"""`diffax demo`: its fields as a request, and the page in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse

import numpy as np
import pytest

from diffax.commands import demo, page
from diffax.training import Options, load_recipe, train_recipe

ROOT = Path(__file__).parents[2]


def test_bad_input_is_one_line(capsys):
    assert demo.main([]) == 2
    assert "expected one of --workdir DIR" in capsys.readouterr().err
    assert demo.main(["--workdir", "nowhere", "--port", "0"]) == 2
    assert "--port should be from 1 to 65535" in capsys.readouterr().err


@pytest.fixture
def source():
    """Of a run's model of grey images, what the page looks at."""
    module = SimpleNamespace(in_channels=1)
    model = SimpleNamespace(shape=(8, 8, 1), factor=1, network=SimpleNamespace(module=module))
    return SimpleNamespace(model=model, fixed_size=True)


FIELDS = {"num": 4, "seed": 2, "steps": 5, "watch": False, "sampler": "the model's own"}


def test_the_fields_become_a_request(source):
    assert page.asked(source, FIELDS) == {"num": 4, "seed": 2, "steps": 5, "trajectory": False}
    more = {"label": "7", "guidance": 2, "sampler": "heun", "prompt": " ", "negative": "owl"}
    assert page.asked(source, FIELDS | more | {"watch": True}) == {
        "num": 4, "seed": 2, "steps": 5, "trajectory": True,
        "labels": "7", "guidance": 2.0, "sampler": "heun", "negative": "owl",
    }  # fmt: skip


def test_what_is_painted_over_is_made_anew(source):
    picture = np.full((16, 16, 4), 255, np.uint8)
    picture[:8, :, :3] = 0
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[:, 8:] = 255
    drawing = {"background": picture, "layers": [layer]}
    fields = page.asked(source, FIELDS | {"drawing": drawing, "strength": 0.5})
    assert fields["image"].shape == (8, 8, 1) and "strength" not in fields
    dark = fields["image"][..., 0] < 128
    np.testing.assert_array_equal(dark, [[True] * 8] * 4 + [[False] * 8] * 4)
    np.testing.assert_array_equal(fields["mask"], [[False] * 4 + [True] * 4] * 8)
    fields = page.asked(
        source, FIELDS | {"drawing": drawing | {"layers": [0 * layer]}, "strength": 0.5}
    )
    assert fields["strength"] == 0.5 and "mask" not in fields
    empty = {"background": 0 * picture, "layers": []}
    assert "image" not in page.asked(source, FIELDS | {"drawing": empty, "strength": 0.5})


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of the page of a small run, served by another process."""
    pytest.importorskip("gradio")
    workdir = tmp_path_factory.mktemp("demo") / "digits"
    recipe = load_recipe("digits:debug")
    more = {"images": False, "sample_every": 0, "tensorboard": False}
    config = replace(recipe.config, train=replace(recipe.config.train, **more))
    unjudged = replace(recipe, summarize=None)
    assert train_recipe(unjudged, config, workdir, Options(quiet=True)) == 0
    port = free_port()
    command = [sys.executable, "-m", "diffax", "demo", "--workdir", workdir, "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(list(map(str, command)), cwd=workdir.parent, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, "the demo ended"
            try:
                urllib.request.urlopen(url).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.slow
def test_the_page_draws_digits_in_a_browser_and_asks_nobody_else(address, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium is installed")
    wanted = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1280, "height": 1000})
        view.set_default_timeout(240_000)
        view.on("response", lambda response: wanted.append(response.url))
        view.goto(address)
        view.locator("#generate").click()
        view.locator("#told", has_text="16 samples in").wait_for()
        view.wait_for_function("document.querySelector('#samples img')?.naturalWidth > 0")
        view.get_by_label("Watch the denoising").check()
        view.locator("#generate").click()
        view.wait_for_function("document.querySelector('#samples img')?.src.includes('.gif')")
        view.screenshot(path=os.environ.get("DIFFAX_SCREENSHOT", tmp_path / "demo.png"))
        browser.close()
    answered = {urlparse(url).hostname for url in wanted if url.startswith(("http", "ws"))}
    assert answered == {"127.0.0.1"}
