"""Identical ids to the reference's CLIP tokenizer, stored by make_tokens.py."""

import json
import os
from pathlib import Path

import numpy as np
import prompt_list
import pytest

from diffax.pretrained import tokenizer as tok

GOLDEN = np.load(Path(__file__).parents[1] / "golden/pretrained/tokens.npz")


@pytest.fixture(scope="module")
def bpe_file():
    if "DIFFAX_TEST_DATA" not in os.environ:
        pytest.skip("DIFFAX_TEST_DATA is not set: CLIP's BPE file is not at hand")
    return Path(os.environ["DIFFAX_TEST_DATA"]) / "clip/bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture(scope="module")
def clip(bpe_file):
    return tok.load_tokenizer(bpe_file)


def small_vocabulary():
    """Bytes, three merges and the marks: enough for the rules that need no real vocabulary."""
    letters = tok.byte_letters()
    merges = [("c", "a"), ("ca", "t</w>"), ("a", "t</w>")]
    tokens = [*letters, *(c + "</w>" for c in letters), *map("".join, merges), tok.START, tok.END]
    return {t: i for i, t in enumerate(tokens)}, merges


def test_same_ids_as_the_reference(clip):
    prompts = prompt_list.prompts()
    assert len(prompts) >= 500
    ends = np.cumsum(GOLDEN["lengths"].astype(int))
    assert any(GOLDEN["lengths"] > 77)
    for text, ids in zip(prompts, np.split(GOLDEN["ids"], ends[:-1]), strict=True):
        assert clip.ids(text) == ids.tolist(), repr(text)


def test_padding_of_each_family(bpe_file, clip):
    prompts = prompt_list.prompts()[: len(GOLDEN["sd1"])]
    np.testing.assert_array_equal(clip(prompts), GOLDEN["sd1"])
    np.testing.assert_array_equal(tok.load_tokenizer(bpe_file, "!")(prompts), GOLDEN["sd2"])


def test_saved_tokenizer_is_the_same(bpe_file, tmp_path):
    tokenizer = tok.load_tokenizer(bpe_file, "!")
    tok.save_tokenizer(tmp_path, tokenizer)
    prompts = prompt_list.prompts()[:200]
    again = tok.load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    from_vocabulary = tok.load_tokenizer(tmp_path)
    assert again.pad == from_vocabulary.pad == 0
    for text in prompts:
        assert again.ids(text) == from_vocabulary.ids(text) == tokenizer.ids(text)


def test_frame_pads_and_cuts():
    tokenizer = tok.Tokenizer(None, start=1, end=2, pad=0, length=5)
    assert tokenizer.frame([7]) == [1, 7, 2, 0, 0]
    assert tokenizer.frame([7, 8, 9, 10]) == [1, 7, 8, 9, 2]


def test_merges_and_case():
    vocabulary, merges = small_vocabulary()
    backend = tok.from_vocabulary(vocabulary, merges)
    ids = backend.encode("CAT at", add_special_tokens=False).ids
    assert [backend.id_to_token(i) for i in ids] == ["cat</w>", "at</w>"]


def test_padding_token_as_a_dictionary(tmp_path):
    vocabulary, merges = small_vocabulary()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "!"}}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    tokenizer = tok.load_tokenizer(tmp_path)
    assert (tokenizer.pad, tokenizer.length) == (vocabulary["!"], 77)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a tokenizer's folder"):
        tok.load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"vocab.json and merges.txt; found \[\]"):
        tok.load_tokenizer(tmp_path)
    (tmp_path / "bpe.txt.gz").write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(ValueError, match="not CLIP's BPE file"):
        tok.load_tokenizer(tmp_path / "bpe.txt.gz")
    (tmp_path / "bpe.txt").write_text("header\ni n\n")
    with pytest.raises(ValueError, match="expected 48894 merges, got 1"):
        tok.load_tokenizer(tmp_path / "bpe.txt")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="not a tokenizer"):
        tok.load_tokenizer(tmp_path)
