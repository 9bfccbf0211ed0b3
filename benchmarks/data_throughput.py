"""How many examples a second the loader gives.

    python benchmarks/data_throughput.py tfds --name cifar10 --dir DIR --flip
    python benchmarks/data_throughput.py digits
    python benchmarks/data_throughput.py image_folder --dir DIR --image-size 64 --captions

Three figures: the first epoch (decoding), a later one (from memory, where the set fits), and one
with decoding at every access (`--cache-mb 0`). The share of time that training waits is what
`train.py` prints at the end of every run.
"""

import argparse
import time
from dataclasses import replace

import tyro

from diffax.data import BY_NAME, Dataset, Loader


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=BY_NAME)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=None)
    flags, rest = parser.parse_known_args()
    data = tyro.cli(BY_NAME[flags.data], args=rest)
    dataset = data.load()
    print(dataset.summary())
    epoch = -(-dataset.spec.size // flags.batch_size)
    first = examples_per_second(dataset, flags, 0, epoch)
    print(f"first epoch, decoding:      {first:10,.0f} examples/s")
    later = examples_per_second(dataset, flags, epoch, epoch + max(epoch, 400))
    print(f"later epochs:               {later:10,.0f} examples/s")
    if dataset.source.cached:
        anew = replace(data, cache_mb=0).load()
        rate = examples_per_second(anew, flags, 0, epoch)
        print(f"decoding at every access:   {rate:10,.0f} examples/s")


def examples_per_second(dataset: Dataset, flags, start: int, stop: int) -> float:
    """Through the loader, in order, with nothing else to do."""
    arguments = dict(seed=0, batch_size=flags.batch_size, workers=flags.workers)
    with Loader(dataset, start=start, stop=stop, stack=10, **arguments) as loader:
        began = time.perf_counter()
        count = sum(batch["x"].shape[0] * batch["x"].shape[1] for batch in loader)
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
