"""CLIP's tokenizer: byte-level BPE through the `tokenizers` library."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from diffax.pretrained.configs import read_json
from diffax.pretrained.saving import write_json
from diffax.pretrained.types import shown

START, END = "<|startoftext|>", "<|endoftext|>"

# Words, single digits, runs of other signs; contractions are split off (Radford et al. 2021).
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)

# Files of settings, of which the later wins.
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")

# Of the published merges file, CLIP uses this many: 49,408 tokens without 512 bytes and 2 marks.
CLIP_MERGES = 49408 - 512 - 2


@dataclass(frozen=True)
class Tokenizer:
    """Texts to token ids, padded as one model wants it.

    Attributes:
        backend: the `tokenizers` object; it adds no marks and does not pad.
        start: id of the mark before a text.
        end: id of the mark after it.
        pad: id that fills the rest: the end mark for SD 1, "!" (0) for SD 2 and XL's second.
        length: number of ids of a padded text, 77.
        added: further tokens with their ids, such as `("<cat-toy>", (49408, 49409))`: a token that
            stands for several vectors has several.
    """

    backend: tokenizers.Tokenizer = field(repr=False)
    start: int = 49406
    end: int = 49407
    pad: int = 49407
    length: int = 77
    added: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def ids(self, text: str) -> list[int]:
        """The ids of a text, however long, without marks."""
        for token, own in self.added:
            before, found, after = text.partition(token)
            if found:
                return [*self.ids(before), *own, *self.ids(after)]
        return self.backend.encode(text, add_special_tokens=False).ids

    def frame(self, ids: Sequence[int]) -> list[int]:
        """Start mark, at most `length - 2` ids, end mark, padding."""
        framed = [self.start, *list(ids)[: self.length - 2], self.end]
        return framed + [self.pad] * (self.length - len(framed))

    def __call__(self, texts: str | Sequence[str]) -> np.ndarray:
        """Ids `[B, length]` int32; what does not fit is cut off (see `prompts` for chunks).

        Example:
            >>> load_tokenizer("stable-diffusion-v1-5/tokenizer")("a cat")  # doctest: +SKIP
        """
        texts = [texts] if isinstance(texts, str) else texts
        return np.array([self.frame(self.ids(text)) for text in texts], np.int32)


def load_tokenizer(path: str | Path, pad_token: str | None = None) -> Tokenizer:
    """Loads a tokenizer.

    Args:
        path: a folder with `tokenizer.json`, or with `vocab.json` and `merges.txt`; or CLIP's
            own `bpe_simple_vocab_16e6.txt.gz`.
        pad_token: overrides the folder's; the default without a folder is the end mark.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an unusable file.
    """
    path = Path(path)
    settings: dict[str, Any] = {}
    if path.is_dir():
        for name, content in read_settings(path).items():
            for token in ("bos_token", "eos_token", "pad_token"):
                _content(content.get(token), END, f"{path / name}: ")
            settings |= content
        backend = _from_folder(path)
    elif path.is_file():
        backend = from_vocabulary(*_clip_vocabulary(path))
    else:
        raise FileNotFoundError(
            f"{path}: expected a tokenizer's folder or CLIP's bpe_simple_vocab_16e6.txt.gz"
        )

    def number(token: str) -> int:
        found = backend.token_to_id(token)
        if found is None:
            raise ValueError(f"{path}: token {shown(token)} is not in the vocabulary")
        return found

    pad = pad_token or _content(settings.get("pad_token"), END)
    number(pad)
    # As in the reference, a padding token is never a part of a word: with "!" for padding, a "!"
    # in a text has the padding's id too.
    backend.add_special_tokens([pad])
    return Tokenizer(
        backend,
        start=number(_content(settings.get("bos_token"), START)),
        end=number(_content(settings.get("eos_token"), END)),
        pad=number(pad),
        length=_length(settings),
    )


def read_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """The JSON files of settings in a tokenizer's folder, by name; later ones win."""
    return {name: read_json(folder / name) for name in SETTINGS if (folder / name).is_file()}


def from_vocabulary(
    vocabulary: dict[str, int], merges: list[tuple[str, str]]
) -> tokenizers.Tokenizer:
    """The `tokenizers` object of a vocabulary and its merges.

    Returns:
        A `tokenizers.Tokenizer` with CLIP's normalization and splitting.
    """
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            unk_token=END,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.add_special_tokens([t for t in (START, END) if t in vocabulary])
    return backend


def _from_folder(folder: Path) -> tokenizers.Tokenizer:
    if (folder / "tokenizer.json").is_file():
        try:
            backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library has one error class for everything
            raise ValueError(
                f"{folder}/tokenizer.json: not a tokenizer ({shown(str(error))})"
            ) from error
        backend.no_padding()
        backend.no_truncation()
        return backend
    if not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        raise FileNotFoundError(
            f"{folder}: expected tokenizer.json, or vocab.json and merges.txt; "
            f"found {sorted(p.name for p in folder.iterdir())}"
        )
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    return from_vocabulary(read_json(folder / "vocab.json"), _merges(lines, folder / "merges.txt"))


def _merges(lines: list[str], file: Path) -> list[tuple[str, str]]:
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{file}: expected two tokens a line; the file is damaged")
    return [(first, second) for first, second in pairs]


def _clip_vocabulary(file: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of CLIP's published merges file."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            text = lines.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not CLIP's BPE file ({error}); download it again") from error
    merges = _merges(text.split("\n")[1 : CLIP_MERGES + 1], file)
    if len(merges) != CLIP_MERGES:
        raise ValueError(f"{file}: expected {CLIP_MERGES} merges, got {len(merges)}")
    letters = [*byte_letters()]
    tokens = [*letters, *(c + "</w>" for c in letters), *map("".join, merges), START, END]
    return {token: i for i, token in enumerate(tokens)}, merges


def byte_letters() -> list[str]:
    """The printable letter that stands for each byte, in the vocabulary's order (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = 256 - len(printable)
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(others)]


def _content(token: Any, default: str, file: str = "") -> str:
    """A token in its published forms: a string, or `{"content": ...}`."""
    if token is None:
        return default
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str):
        raise ValueError(
            f'{file}expected a token as text or {{"content": text}}, got {shown(token)}'
        )
    return content


def _length(settings: dict[str, Any]) -> int:
    length = settings.get("model_max_length")
    numeric = isinstance(length, int | float) and not isinstance(length, bool)
    if length is not None and not numeric:
        raise ValueError(f"model_max_length: expected a number of tokens, got {shown(length)}")
    # Some files say 10^30 for "unset".
    return int(length) if numeric and 2 < length < 10_000 else 77


def save_tokenizer(
    folder: str | Path, tokenizer: Tokenizer, files: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Writes `vocab.json`, `merges.txt`, `tokenizer.json` and their settings.

    Args:
        folder: made where it is missing.
        tokenizer: what to write.
        files: the JSON files of settings it was loaded with, by name (see `SETTINGS`), which are
            then written as they were.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend.model.save(str(folder))
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    name = tokenizer.backend.id_to_token
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": name(tokenizer.start),
        "eos_token": name(tokenizer.end),
        "unk_token": name(tokenizer.end),
        "pad_token": name(tokenizer.pad),
        "model_max_length": tokenizer.length,
    }
    for file, content in (files or {"tokenizer_config.json": settings}).items():
        write_json(folder / file, content)
