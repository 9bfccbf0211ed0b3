"""How many images a second the loader gives, and how long a run waits for them.

    python benchmarks/data_throughput.py --config cifar --data.dir DIR
    python benchmarks/data_throughput.py --config digits

Three figures: the first epoch (decoding), a later one (from memory, where the set fits), and one
with decoding at every access (`--data.cache_mb 0`). The share of time that training waits is what
`train.py` prints at the end of every run.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from diffax.commands.train import override
from diffax.data import Loader, load
from diffax.training import load_recipe

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="cifar")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=None)
    flags, rest = parser.parse_known_args()
    config = override(load_recipe(flags.config, ROOT / "configs").config, rest).data
    dataset = load(config)
    print(dataset.summary())
    epoch = -(-dataset.size // flags.batch_size)
    first = images_per_second(dataset, flags, 0, epoch)
    print(f"first epoch, decoding:      {first:10,.0f} images/s")
    later = images_per_second(dataset, flags, epoch, epoch + max(epoch, 400))
    print(f"later epochs:               {later:10,.0f} images/s")
    if dataset.source.cached:
        anew = load(replace(config, cache_mb=0))
        rate = images_per_second(anew, flags, 0, epoch)
        print(f"decoding at every access:   {rate:10,.0f} images/s")


def images_per_second(dataset, flags, start: int, stop: int) -> float:
    """Through the loader, in order, with nothing else to do."""
    arguments = dict(seed=0, batch_size=flags.batch_size, workers=flags.workers)
    with Loader(dataset, start=start, stop=stop, stack=10, **arguments) as loader:
        began = time.perf_counter()
        count = sum(batch["x"].shape[0] * batch["x"].shape[1] for batch in loader)
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
