"""Bits a character of the text recipe, beside n-gram models and a causal transformer.

    python train.py --config text --workdir runs/text
    python benchmarks/text.py --part causal --workdir runs/causal
    python benchmarks/text.py --part measure --workdir runs/text --causal runs/causal
    python train.py --config text:uniform --workdir runs/text_uniform --train.steps 500
    python benchmarks/text.py --part uniform --workdir runs/text_uniform

All are trained on the first nine tenths of Python's language reference and judged on the last one.
The causal transformer is the recipe's network but for the mask of its attention, with the same
optimizer, batches and steps; its first character is judged without anything before it. The n-gram
models (Witten-Bell smoothing: Witten & Bell 1991) read the held-out text as a whole, with all that
came before: that is in their favour.
"""

import argparse
import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from diffax.evaluation import Evaluation, HeldOutLoss, TokenBits
from diffax.evaluation.examples import blocks
from diffax.training import Options, load_recipe, open_run, train_recipe

CONFIGS = Path(__file__).parents[1] / "configs"
RESULTS = Path(__file__).parent / "results" / "text.json"


@dataclasses.dataclass(frozen=True)
class NextToken:
    """A causal network learns every token from those before it."""

    network: Any
    """The Flax module: a causal token_transformer."""

    def build(self, spec):
        """The objective."""
        return NextTokenObjective(self.network.clone(vocabulary=len(spec.alphabet)), spec.shape)


@dataclasses.dataclass(frozen=True)
class NextTokenObjective:
    """`NextToken`, built for one text."""

    network: Any
    shape: tuple[int, ...]
    loaded: Any = dataclasses.field(default_factory=dict)
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def columns(self, batch):
        """The tokens."""
        return {"x": batch["x"]}

    def init(self, key, batch, loaded):
        """The network."""
        return self.network.init(key, jnp.zeros((1, *self.shape), jnp.int32), jnp.zeros(1)), {}

    def loss(self, trainable, frozen, batch, key, train=True):
        """Cross-entropy in nats a token, and in bits."""
        x = batch["x"]
        # Before the first token stands the one that the data do not have.
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=self.network.vocabulary)
        logits = self.network.apply(trainable, before, jnp.zeros(len(x)))
        nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), x[..., None], axis=-1).mean()
        return nats, {"bits": nats / math.log(2)}

    def check_sampling(self, settings):
        """Nothing is sampled."""

    def model(self, trainable, frozen, settings):
        """None."""
        return None


def causal_config(steps=None):
    """The text recipe's, with a causal network."""
    config = load_recipe("text", CONFIGS).config
    network = config.objective.network.clone(causal=True)
    steps = steps or config.train.steps
    return dataclasses.replace(
        config,
        objective=NextToken(network),
        evaluation=Evaluation(every=100, metrics=(HeldOutLoss(num=10**6),)),
        train=dataclasses.replace(config.train, steps=steps, sample_every=0, images=False),
    )


def causal_bits(workdir):
    """Bits a character of the held-out windows."""
    run = open_run(workdir)
    loss = jax.jit(lambda batch: run.objective.loss(run.trainable, {}, batch, None)[0])
    test = dataclasses.replace(run.config.data, split="test").load()
    # Blocks of one size: the last one is cut to what counts.
    found = [
        (float(loss({"x": jnp.asarray(batch["x"][:count])})), count)
        for _, batch, count in blocks(test, test.spec.size)
    ]
    nats = sum(value * count for value, count in found) / sum(count for _, count in found)
    return nats / math.log(2)


def ngram_bits(train_text, test_text, order, size):
    """Bits a character of an n-gram model with Witten-Bell smoothing."""
    counts = [defaultdict(Counter) for _ in range(order)]
    for i, character in enumerate(train_text):
        for length in range(min(order, i + 1)):
            counts[length][train_text[i - length : i]][character] += 1
    totals = [{h: sum(found.values()) for h, found in table.items()} for table in counts]

    def probability(history, character):
        p = 1 / size
        for length in range(len(history) + 1):
            context = history[len(history) - length :]
            found = counts[length].get(context)
            if found is None:
                break
            kinds = len(found)
            p = (found[character] + kinds * p) / (totals[length][context] + kinds)
        return p

    bits = 0.0
    for i, character in enumerate(test_text):
        bits -= math.log2(probability(test_text[max(0, i - order + 1) : i], character))
    return bits / len(test_text)


def bound(run, steps=None):
    """What `TokenBits` measures of all held-out windows, of so many steps or all times."""

    class Watched:
        """What it looks at."""

        model = run.model

        def split(self, split):
            return dataclasses.replace(run.config.data, split=split).load()

    return TokenBits(num=10**6, draws=4 if steps is None else 1, steps=steps).measure(Watched())


def measured_uniform(workdir):
    """The bound with uniform noise."""
    run = open_run(workdir)
    found = bound(run)
    return {
        "bound": found.figures["token_bits"],
        "bound_interval": list(found.intervals["token_bits"]),
        "steps": run.step,
        "batch_size": run.config.train.batch_size,
    }


def measured(workdir, causal):
    """All figures."""
    run = open_run(workdir)
    splits = {
        split: dataclasses.replace(run.config.data, split=split, length=1).load()
        for split in ("train", "test")
    }
    alphabet = splits["train"].spec.alphabet
    texts = {
        split: "".join(alphabet[i] for i in data.arrays()["x"][:, 0])
        for split, data in splits.items()
    }
    rows = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text().splitlines()]
    bits = {
        f"{n}_gram_witten_bell": ngram_bits(texts["train"], texts["test"], n, len(alphabet))
        for n in range(1, 6)
    }
    for steps in (None, 128, 32):
        found = bound(run, steps)
        name = "masked_bound" if steps is None else f"masked_bound_{steps}_steps"
        bits[name] = found.figures["token_bits"]
        if steps is None:
            bits["masked_bound_interval"] = list(found.intervals["token_bits"])
    if causal is not None:
        bits["causal"] = causal_bits(causal)
        bits["causal_steps"] = open_run(causal).step
    network, train_config = run.model.network, run.config.train
    return {
        "text": {
            "name": "Python's language reference (pydoc_data.topics)",
            "train_characters": len(texts["train"]),
            "test_characters": len(texts["test"]),
            "alphabet": len(alphabet),
        },
        "network": {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(network.params)),
            "features": network.module.features,
            "depth": network.module.depth,
            "length": run.config.data.length,
            "steps": train_config.steps,
            "batch_size": train_config.batch_size,
        },
        "last_row": rows[-1],
        "bits_a_character": bits,
    }


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("causal", "measure", "uniform"), required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--causal", type=Path)
    parser.add_argument("--steps", type=int)
    flags = parser.parse_args()
    if flags.part == "causal":
        recipe = load_recipe("text", CONFIGS)
        raise SystemExit(train_recipe(recipe, causal_config(flags.steps), flags.workdir, Options()))
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if flags.part == "uniform":
        found = {"uniform": measured_uniform(flags.workdir)}
    else:
        found = measured(flags.workdir, flags.causal)
    RESULTS.write_text(json.dumps(kept | found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
