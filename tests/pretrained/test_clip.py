"""A whole CLIP from a folder, and its scores."""

import json

import numpy as np
import pytest
import safetensors.numpy
import tiny_models
import tiny_pipelines

from diffax.commands import evaluate
from diffax.evaluation import CLIPScore, Watched, clip_score, measure
from diffax.generation import Samples
from diffax.models import CLIPTextModelWithProjection, CLIPVisionModelWithProjection
from diffax.pretrained import load_clip, naming
from diffax.pretrained.configs import parameter_shapes
from diffax.pretrained.filling import leaves
from diffax.pretrained.tokenizer import save_tokenizer

TEXTS = ["a cat", "dog", "a red house"]
JOINT = {"projection_dim": 24}
TEXT = {**tiny_models.CLIP, "eos_token_id": tiny_models.END}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}
CONFIG = {"architectures": ["CLIPModel"], **JOINT, "text_config": TEXT, "vision_config": VISION}


def images(size=28):
    return np.random.RandomState(0).randint(0, 256, (3, size, size, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The formula's weights under the names of the reference."""
    path = tmp_path_factory.mktemp("clip")
    tensors = {"logit_scale": np.asarray(2.6, np.float32)}
    for module in (
        CLIPTextModelWithProjection(**TEXT, **JOINT),
        CLIPVisionModelWithProjection(**VISION, **JOINT),
    ):
        for key, (leaf, wanted) in leaves(parameter_shapes(module)).items():
            tensors[key] = tiny_models.weight(key, naming.published_shape(leaf, wanted.shape))
    # The other way round, most cosines would be negative, and their scores zero.
    tensors["visual_projection.weight"] *= -1
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG))
    save_tokenizer(path, tiny_pipelines.tokenizer("<|endoftext|>"))
    return path


def test_scores_do_not_depend_on_the_batch_size(folder):
    clip = load_clip(folder)
    scores = clip_score(clip, images(40), TEXTS, batch_size=2)
    assert scores.shape == (3,) and (scores >= 0).all() and (scores <= 100).all()
    again = clip_score(clip, images(40)[::-1], TEXTS[::-1], batch_size=2)
    np.testing.assert_allclose(scores, again[::-1], atol=1e-4)
    assert np.ptp(clip_score(clip, images(), ["dog", "a cat", "dog"], batch_size=2)) > 0


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="N texts, got .* and 2 texts"):
        clip_score(load_clip(folder), images(), TEXTS[:2])
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["CLIPTextModel"]}))
    with pytest.raises(
        ValueError, match="expected a CLIPModel .*; give the folder of a whole CLIP"
    ):
        load_clip(tmp_path)


def seen(**told):
    return Watched(None, None, None, None, given=Samples(images(), images(), told))


def test_the_metric_scores_samples_against_their_own_texts(folder, monkeypatch):
    scores = clip_score(load_clip(folder), images(), TEXTS)
    found = measure(CLIPScore(str(folder)), seen(caption=np.array(TEXTS)))
    assert found.figures["clip_score"] == pytest.approx(scores.mean(), rel=1e-5)
    low, high = found.intervals["clip_score"]
    assert low < scores.mean() < high
    assert found.notes[0].startswith("clip_score: 3 samples of 3 texts, CLIP clip")
    monkeypatch.setenv("DIFFAX_CLIP", str(folder))
    two = measure(CLIPScore(prompts=("a cat", "dog"), samples=3), seen())
    expected = clip_score(load_clip(folder), images(), ["a cat", "dog", "a cat"]).mean()
    assert two.figures["clip_score"] == pytest.approx(expected, rel=1e-5)


def test_what_the_metric_refuses(folder, monkeypatch):
    monkeypatch.delenv("DIFFAX_CLIP", raising=False)
    with pytest.raises(FileNotFoundError, match="no CLIP: give the folder .* --clip_score.path"):
        CLIPScore()(seen())
    with pytest.raises(ValueError, match="needs texts: say --clip_score.prompts"):
        CLIPScore(str(folder))(seen())
    with pytest.raises(ValueError, match="expected texts, got an empty one"):
        CLIPScore(prompts=("a cat", " "))


def test_from_the_command_line(folder, tmp_path):
    np.savez(tmp_path / "s.npz", arr_0=images(), captions=np.array(TEXTS))
    asked = [
        "--samples",
        tmp_path / "s.npz",
        "--metrics",
        "clip_score",
        "--clip_score.path",
        folder,
    ]
    assert evaluate.main([str(a) for a in (*asked, "--out", tmp_path / "out", "--quiet")]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    expected = clip_score(load_clip(folder), images(), TEXTS).mean()
    assert found["figures"]["samples"]["clip_score"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parity
def test_scores_are_the_references(folder):
    torch = pytest.importorskip("torch", reason="the parity extra (torch) is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    clip = load_clip(folder)
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    mean, std = (
        torch.tensor(v)[:, None, None]
        for v in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    pixels = torch.from_numpy(np.moveaxis(images(), -1, 1).copy()).float() / 255
    ids = torch.from_numpy(clip.tokenizer(TEXTS)).long()
    with torch.no_grad():
        out = theirs(input_ids=ids, pixel_values=(pixels - mean) / std)
    expected = (out.logits_per_image / theirs.logit_scale.exp()).diagonal().detach().numpy()
    np.testing.assert_allclose(
        clip_score(clip, images(), TEXTS), 100 * np.maximum(expected, 0), atol=1e-3
    )
    assert (expected > 0).any()
