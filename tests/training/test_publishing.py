"""A run for others: a folder with a card, loaded as a run is, and nothing of this machine."""

import json
import types

import jax
import numpy as np
import pytest

from diffax.training import load_run, open_run, push, save_run


@pytest.fixture(scope="module")
def published(whole, tmp_path_factory):
    config, workdir, _ = whole
    out = tmp_path_factory.mktemp("published") / "moons"
    assert save_run(workdir, out, name="me/moons", licence="mit") == "run"
    return config, workdir, out


def test_it_is_the_same_model_with_nothing_beside_it(published):
    _, workdir, out = published
    ours, theirs = load_run(workdir), load_run(out)
    for a, b in zip(
        jax.tree.leaves(ours.network.params), jax.tree.leaves(theirs.network.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    run = open_run(out)
    assert (run.step, run.average) == (20, "none")
    names = {p.name for p in (out / "checkpoints" / "00000020" / "state").iterdir()}
    assert {"trainable", "counters"} <= names and not any("ema" in name for name in names)
    with pytest.raises(FileExistsError, match="give another name"):
        save_run(workdir, out)


def test_the_card_says_what_it_is_and_how_to_load_it(published):
    _, workdir, out = published
    card = (out / "README.md").read_text()
    head = card.split("---")[1]
    assert 'license: "mit"' in head and "library_name: diffax" in head
    loss = json.loads((workdir / "summary.json").read_text())["loss"]
    for text in (
        "# me/moons",
        'diffax.load_run("hf:me/moons")',
        "denoising with vector_mlp",
        "toy `s_curve`",
        "512 examples of [2]",
        f"| loss | {loss:.4g} |",
        "the average `decay_0.99`",
    ):
        assert text in card, text
    json.loads(card.split("```json\n")[1].split("```")[0])
    assert str(workdir.parent) not in card


def test_push_makes_the_place_and_sends_the_folder(published, monkeypatch, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    sent = []

    def upload_folder(**options):
        sent.append(options)
        return types.SimpleNamespace(commit_url="https://hub/me/moons/commit/1")

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda *a, **k: sent.append((a, k)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    out = published[2]
    assert push(out, "me/moons", private=True) == "https://hub/me/moons/commit/1"
    assert sent == [
        (("me/moons",), {"private": True, "exist_ok": True}),
        {"repo_id": "me/moons", "folder_path": str(out)},
    ]
    with pytest.raises(FileNotFoundError, match="no README.md"):
        push(tmp_path, "me/moons")

    def refuse(**_):
        raise PermissionError("403\nnot yours")

    monkeypatch.setattr(huggingface_hub, "upload_folder", refuse)
    with pytest.raises(ValueError, match=r"the hub refused \(PermissionError: 403 not yours\)"):
        push(out, "me/moons")


def test_a_run_on_the_hub_is_loaded_by_its_name(published, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    asked = []

    def snapshot_download(repo, **options):
        asked.append((repo, options["allow_patterns"]))
        return str(published[2])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load_run("hf:me/moons").shape == (2,)
    assert asked == [("me/moons", ["config.json", "summary.json", "checkpoints/*"])]
