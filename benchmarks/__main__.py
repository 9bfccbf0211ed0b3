"""Speed beside diffusers on PyTorch: same shapes, same machine, same run, in turns.

    python -m benchmarks --suite cpu --out benchmarks/results/cpu.json
    python -m benchmarks --suite gpu --out benchmarks/results/gpu.json
    python -m benchmarks --only small --rounds 9

Every case has a process a side, so that no library's threads disturb the other's; while one is
measured the other waits for its standard input. Medians of rounds, with the smallest and largest
one; what others take of the machine meanwhile is measured, and a noisy run is no result: nothing
is written and the exit status is 3, unless --noisy says that figures are wanted all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.cases import CASES, Case
from benchmarks.report import plot, table
from benchmarks.worker import MARK

SIDES = ("diffax", "torch")
MOST_FOREIGN = 0.1  # of all cores' time, what others may take
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Parses the command line, measures, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", choices=CASES, nargs="+", help="these cases, of any suite")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--out", type=Path, help="JSON; a plot is left beside it")
    parser.add_argument("--noisy", action="store_true", help="write figures of a busy machine, too")
    flags = parser.parse_args()
    names = flags.only or [n for n, case in CASES.items() if flags.suite in case.suites]
    busy = foreign_share(2.0)
    print(f"others take {100 * busy:.0f} % of {os.cpu_count()} cores", file=sys.stderr)
    if busy > MOST_FOREIGN and not flags.noisy:
        return _refuse(busy)
    found = {
        "date": str(date.today()),
        "suite": flags.suite,
        "processor": processor(),
        "cores": os.cpu_count(),
        "cases": {},
    }
    for name in names:
        print(CASES[name].title, file=sys.stderr, flush=True)
        found["cases"][name] = measured(name, flags.rounds or CASES[name].rounds, flags.suite)
    worst = max(case["foreign"] for case in found["cases"].values())
    found["foreign"] = worst
    print(table(found))
    if worst > MOST_FOREIGN and not flags.noisy:
        return _refuse(worst)
    if flags.out is not None:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        flags.out.write_text(json.dumps(found, indent=1) + "\n")
        plot(found, flags.out.with_suffix(".png"))
    return 0


def _refuse(share: float) -> int:
    print(
        f"not a result: others took {100 * share:.0f} % of the machine, at most "
        f"{100 * MOST_FOREIGN:.0f} % are accepted; wait for a quiet machine, or give --noisy",
        file=sys.stderr,
    )
    return 3


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")


def measured(name: str, rounds: int, suite: str) -> dict:
    """Everything that is measured of one case."""
    case: Case = CASES[name]
    with tempfile.TemporaryDirectory() as cache:
        sides, facts, ready = {}, {}, {}
        for side in SIDES:  # one after the other: neither compiles while the other one starts
            sides[side] = Worker(side, name, suite, cache)
            facts[side] = sides[side].ask("facts")
            ready[side] = sides[side].age()
        ceilings = [worker.ask("ceiling")["gflops"] for worker in sides.values()]
        times: dict[str, dict] = {what: {side: [] for side in SIDES} for what in case.measures}
        memory = {}
        for what in case.measures:
            for worker in sides.values():
                worker.ask(what)  # warm
        others = Others(*sides.values())
        for _ in range(rounds):
            for what in case.measures:
                for side, worker in sides.items():
                    times[what][side].append(worker.ask(what))
        foreign = others.share()
        for side, worker in sides.items():
            memory[side] = worker.ask("memory")
            worker.end()
        again = Worker("diffax", name, suite, cache)
        again.ask("facts")
        ready["diffax, cached"] = again.age()
        again.end()
        alone = []
        for _ in ("cold", "cached"):
            worker = Worker("diffax", name, suite, f"{cache}/alone", "compile")
            alone.append(worker.ask("facts"))
            worker.end()
    return {
        "title": case.title,
        "facts": facts,
        "times": {what: {s: _summary(runs) for s, runs in t.items()} for what, t in times.items()},
        "speed": {
            what: statistics.median(
                b["seconds"] / a["seconds"] for a, b in zip(t["diffax"], t["torch"], strict=True)
            )
            for what, t in times.items()
        },
        "memory_gib": memory,
        "ready_s": ready,
        "compile_s": alone[0]["compile"],
        "compile_processor_s": alone[0]["compile_processor"],
        "cached_compile_s": alone[1]["compile"],
        "ceiling_gflops": max(ceilings),
        "foreign": foreign,
    }


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    seconds = [run["seconds"] for run in runs]
    return {
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "processor": statistics.median(run["processor"] for run in runs),
    }


class Worker:
    """A side of a case, in a process of its own."""

    def __init__(self, side: str, name: str, suite: str, cache: str, *words: str) -> None:
        self.began = time.perf_counter()
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if suite == "cpu":
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{side}_worker", name, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[1],
        )

    def ask(self, word: str) -> dict:
        """The worker's answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise SystemExit(f"{self.process.args} ended at {word!r}; see above")

    def age(self) -> float:
        """Seconds since the process began."""
        return time.perf_counter() - self.began

    def processor(self) -> float:
        """Seconds of processor time it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def end(self) -> None:
        """Lets it end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


class Others:
    """What share of all cores anything but our workers takes, from now on."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = workers
        self.before = self._now()

    def share(self) -> float:
        """Since it was made, 0 to 1; the clock of processor time ticks in hundredths."""
        busy, total, own = (b - a for a, b in zip(self.before, self._now(), strict=True))
        return max(0.0, (busy - own) / total) if total > 0.2 else 0.0

    def _now(self) -> tuple[float, float, float]:
        ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        own = sum(worker.processor() for worker in self.workers)
        return (sum(ticks) - idle) / _TICKS, sum(ticks) / _TICKS, own


def foreign_share(seconds: float) -> float:
    """What share of all cores is taken, while we wait."""
    others = Others()
    time.sleep(seconds)
    return others.share()


if __name__ == "__main__":
    sys.exit(main())
