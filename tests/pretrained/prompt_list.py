"""At least 500 prompts that try a tokenizer: made by rule, the same everywhere."""

from __future__ import annotations

import numpy as np

WORDS = (
    "a photo of cat dogs astronaut riding horse on mars oil painting by Van Gogh highly detailed "
    "8k UHD unreal-engine octane render, cinematic lighting; (soft focus) [matte] {bokeh} "
    "don't it's we're they've I'm he'll she'd rock'n'roll O'Neill's café naïve Zürich "
    "antidisestablishmentarianism supercalifragilisticexpialidocious hippopotamus's ~!@#$%^&*()_+"
).split()

UNICODE = (
    "東京タワー 夜景 пейзаж на закате مدينة جميلة שלום เมืองเก่า नमस्ते 서울의 밤 Ελλάδα Việt_Nam "
    "ÅNGSTRÖM straße İstanbul ﬁne ① ½ ² Ⅷ １２３ ＡＢＣ e\u0301te\u0301 o\u0308 a\u030a \u212b "
    "🐱 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 👍🏽 ❤️ 🤖 ☃ ⛩️ ♥ — – … “quoted” ‘single’ «guillemets» ¿qué? ¡sí! "
    "\u200b \ufeff \u00ad \u2028 \u3000 \u00a0 \u202e \U0001f9ff \U00020000 \ue000 \x7f"
).split(" ")

SPACES = [" ", "  ", "\t", "\n", "\r\n", " \u3000 ", "\u00a0", "\v"]

SPECIAL = [
    "",
    " ",
    "\n\t ",
    "a",
    "!",
    "!!!!!!!!",
    "'",
    "''s",
    "'S 'T 'RE 'VE 'M 'LL 'D",
    "it's its' it’s",
    "x" * 300,
    "0123456789" * 12,
    "3.14159 2,718 1e-4 50% #1 $9.99",
    "a  b   c    d",
    " leading and trailing ",
    "UPPER lower MiXeD",
    "under_score-hyphen/slash\\back",
    "https://example.com/a?b=c&d=e",
    "<|startoftext|>",
    "<|endoftext|>",
    "a <|endoftext|> b",
    "<|ENDOFTEXT|> </w> a</w>",
    "(word:1.3) [x] ((y))",
    "&amp; &lt;b&gt;",
    "null\x00byte",
    "a" * 76 + " b",
    " ".join(["cat"] * 74),
    " ".join(["cat"] * 75),
    " ".join(["cat"] * 76),
    " ".join(["cat"] * 200),
]


def prompts() -> list[str]:
    """The list; the same strings for the script that stores the reference's ids and the test."""
    draw = np.random.RandomState(0)
    made = list(SPECIAL) + UNICODE
    while len(made) < 600:
        pool = WORDS if len(made) % 3 else WORDS + UNICODE
        count = draw.randint(1, 120) if len(made) % 10 == 0 else draw.randint(1, 20)
        parts = []
        for _ in range(count):
            parts.append(pool[draw.randint(len(pool))])
            parts.append(SPACES[draw.randint(len(SPACES))] if draw.rand() < 0.2 else " ")
        made.append("".join(parts))
    return made
