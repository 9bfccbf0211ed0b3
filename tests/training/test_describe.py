"""--help says what every field of every recipe means."""

import dataclasses
import sys
from pathlib import Path

import flax.linen as nn
import pytest

from diffax.training import load_recipe
from diffax.training.choices import families
from diffax.training.describe import field_help, help_text
from diffax.training.dotted import field_types
from diffax.training.overrides import override

RECIPES = Path(__file__).parents[2] / "configs"
SPECS = []
for name in sorted(p.stem for p in RECIPES.glob("*.py")):
    load_recipe(name, RECIPES)
    variants = sys.modules[f"diffax_recipe_{name}"].VARIANTS
    SPECS += [f"{name}:{variant}" if variant else name for variant in variants]


@pytest.mark.parametrize("spec", SPECS)
def test_every_field_has_type_default_and_meaning(spec):
    config = load_recipe(spec, RECIPES).config
    lines = help_text(config).splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("--")]
    described = {}
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        entry = lines[start:end]
        meaning = " ".join(line.strip() for line in entry if line.startswith(" " * 8))
        described[entry[0].split()[0][2:]] = meaning
        assert "(default: " in " ".join(entry)
    assert list(described) == list(field_types(config))
    assert not [name for name, meaning in described.items() if len(meaning) < 3]


def test_several_choices_are_listed_with_their_fields():
    config = load_recipe("s_curve", RECIPES).config
    config = override(config, {"metrics": ["held_out_loss"], "groups": ["group", "group"]})
    text = help_text(config)
    assert "--evaluation.metrics  any of held_out_loss" in text
    assert "--evaluation.metrics.held_out_loss.num  a whole number (default: 1024)" in text
    assert "--optimizer.groups.group_2.method.b1" in text


@pytest.mark.parametrize("family", families())
def test_every_field_of_every_choice_has_a_meaning(family):
    missing = []
    for name, kind in families()[family].items():
        kind = getattr(kind, "make", kind)
        told = field_help(kind)
        internal = {"params", "schedule"} if family in ("solver", "predictor") else {"params"}
        internal |= {"parent", "name"} if issubclass(kind, nn.Module) else set()
        fields = {f.name for f in dataclasses.fields(kind)} - internal
        missing += [f"{name}.{field}" for field in sorted(fields) if field not in told]
    assert missing == []
