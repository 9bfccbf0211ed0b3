"""Writes tokens.npz: the ids transformers' CLIPTokenizer gives the prompts of prompt_list.py.

Needs transformers (the `parity` extra) and DIFFAX_TEST_DATA with CLIP's BPE file.
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import transformers
from transformers.convert_slow_tokenizer import bytes_to_unicode

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "pretrained"))

import prompt_list  # noqa: E402


def reference(pad_token: str = "<|endoftext|>") -> transformers.CLIPTokenizer:
    """The reference tokenizer with the published vocabulary."""
    file = Path(os.environ["DIFFAX_TEST_DATA"]) / "clip/bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.open(file, "rt", encoding="utf-8").read().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = list(bytes_to_unicode().values())
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={t: i for i, t in enumerate(tokens)}, merges=merges, pad_token=pad_token
    )


def main() -> None:
    tokenizer = reference()
    texts = prompt_list.prompts()
    whole = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    padded = {
        name: reference(pad)(texts[:120], padding="max_length", max_length=77, truncation=True)[
            "input_ids"
        ]
        for name, pad in (("sd1", "<|endoftext|>"), ("sd2", "!"))
    }
    np.savez_compressed(
        HERE / "tokens.npz",
        ids=np.concatenate(whole).astype(np.uint16),
        lengths=np.array([len(ids) for ids in whole], np.uint16),
        **{name: np.array(ids, np.uint16) for name, ids in padded.items()},
    )


if __name__ == "__main__":
    main()
