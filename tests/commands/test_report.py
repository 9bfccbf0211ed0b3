"""A run's folder as one page."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from diffax import plotting
from diffax.commands import report


class Page(HTMLParser):
    """What a browser would ask for, and the texts."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"data": {"name": "<moons> & more"}}))
    lines = [{"step": s, "loss": 1.0 / s, "loss_t1": 0.5 / s} for s in range(1, 60)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "summary.json").write_text(
        json.dumps({"step": 59, "loss": 0.0169491, "complete": True})
    )
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 99)]
    for step in range(0, 200, 10):
        plotting.save_image(folder / "samples" / f"{step:08d}.png", frames[1])
    plotting.save_gif(folder / "reverse.gif", frames)
    (folder / "evaluation").mkdir()
    figures = {"figures": {"none": {"frechet": 12.3456}}, "notes": ["1,000 samples"]}
    (folder / "evaluation" / "evaluation.json").write_text(json.dumps(figures))
    return folder


def test_the_page_holds_everything_and_asks_for_nothing(run, capsys):
    assert report.main([str(run)]) == 0
    assert "wrote" in capsys.readouterr().out
    text = (run / "report.html").read_text()
    page = Page(text)
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    assert "url(" not in text and "<script" not in text
    read = " ".join(page.texts)
    for word in ("0.01695", "12.35", "the weights themselves", "1,000 samples", "<moons> & more"):
        assert word in read
    # The first and the last grid are among those shown.
    assert re.findall(r"Samples after ([\d,]+) steps", " ".join(page.texts))[:1] == ["0"]
    assert "after 190 steps" in read and read.count("Samples after") == 6
    gif = next(s for s in page.sources if s.startswith("data:image/gif"))
    assert base64.b64decode(gif.partition(",")[2]) == (run / "reverse.gif").read_bytes()


def test_a_run_that_has_just_begun_has_a_page_too(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    out = tmp_path / "pages" / "a.html"
    assert report.main([str(tmp_path), "--out", str(out)]) == 0
    assert "Resolved recipe" in out.read_text()


def test_what_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert "holds no run: expected config.json" in capsys.readouterr().err
    assert report.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "config.json").write_text("{")
    assert report.main([str(tmp_path)]) == 2
    assert "config.json is no JSON" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
