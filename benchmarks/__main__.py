"""Speed beside diffusers on PyTorch: same shapes, same machine, same run, in turns.

    python -m benchmarks --suite cpu --out benchmarks/results/cpu.json
    python -m benchmarks --suite gpu --minutes 9 --out benchmarks/results/gpu.json
    python -m benchmarks --suite gpu --minutes 9 --out benchmarks/results/gpu.json --go-on
    python -m benchmarks --only small --rounds 9

Every case has a process a side, so that no library's threads disturb the other's; while one is
measured the other waits for its standard input. Medians of rounds, with the smallest and largest
one; what others take of the machine meanwhile is measured, and a noisy case is no result: it is
not written and the exit status is 3, unless --noisy says that figures are wanted all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.cases import CASES, Case, cases
from benchmarks.report import plot, table
from benchmarks.worker import MARK

ROOT = Path(__file__).parents[1]
SIDES = ("diffax", "torch")
MOST_FOREIGN = 0.1  # of all cores' time, what others may take
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Parses the command line, measures, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--suite", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", choices=CASES, nargs="+", help="these cases, of any suite")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--out", type=Path, help="JSON; a plot is left beside it")
    parser.add_argument("--noisy", action="store_true", help="write figures of a busy machine, too")
    parser.add_argument("--minutes", type=float, help="begin no case that may not end in time")
    parser.add_argument("--go-on", action="store_true", help="measure what --out lacks")
    parser.add_argument("--tiny", action="store_true", help="see that it runs; nothing is written")
    flags = parser.parse_args()
    if flags.tiny:  # whatever the machine does; no figure of it is kept
        flags.noisy, flags.out = True, None
    if flags.go_on and flags.out is None:
        parser.error("--go-on: expected --out FILE with what was measured before")
    names = flags.only or [n for n, case in CASES.items() if flags.suite == case.suite]
    if flags.suite == "gpu" and not flags.tiny:
        require_gpu()
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
    if flags.go_on and flags.out.exists():
        before = json.loads(flags.out.read_text())
        other = [key for key in ("suite", "processor", "cores") if before[key] != found[key]]
        if other:
            parser.error(f"--go-on: expected {flags.out} of this suite and machine, got another's")
        found["cases"] = before["cases"]
        names = [name for name in names if name not in before["cases"]]
    failed, refused = measure(names, found, flags)
    if not found["cases"]:
        return 3 if refused else 1
    print(table(found))
    if flags.out is not None:
        plot(found, flags.out.with_suffix(".png"))
    return 3 if refused else 1 if failed else 0


def require_gpu() -> None:
    """Refuses at once where a side cannot be imported, or would run on the processor."""
    for side, asked in (
        ("diffax", "import jax; print(jax.default_backend() == 'gpu')"),
        ("torch", "import torch; print(torch.cuda.is_available())"),
    ):
        program = f"import benchmarks.{side}_worker; {asked}"
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
        )
        if answer.returncode:
            raise SystemExit(f"benchmarks.{side}_worker: {answer.stderr.strip().splitlines()[-1]}")
        if not answer.stdout.endswith("True\n"):
            raise SystemExit(
                f"--suite gpu: expected a GPU that {side}'s side can use, got none; install what "
                "this machine's CUDA asks for, or give --tiny to see the suite run"
            )


def measure(names: list[str], found: dict, flags: argparse.Namespace) -> tuple[bool, bool]:
    """Measures case after case; each is written as soon as it is done.

    Returns:
        Whether any failed, and whether any was too noisy.
    """
    began, longest, failed, refused = time.perf_counter(), 0.0, False, False
    all_cases = cases(tiny=flags.tiny)
    for i, name in enumerate(names):
        spent = time.perf_counter() - began
        if flags.minutes is not None and spent + longest > 60 * flags.minutes:
            left = " ".join(names[i:])
            print(f"out of time, left: {left}; the same command with --go-on", file=sys.stderr)
            break
        case = all_cases[name]
        print(case.title, file=sys.stderr, flush=True)
        try:
            one = measured(name, case, flags)
        except WorkerEnded as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        longest = max(longest, time.perf_counter() - began - spent)
        if one["foreign"] > MOST_FOREIGN and not flags.noisy:
            _refuse(one["foreign"])
            refused = True
            continue
        found["cases"][name] = one
        if flags.out is not None:
            flags.out.parent.mkdir(parents=True, exist_ok=True)
            partial = flags.out.with_suffix(".partial")  # a file that is there stays whole
            partial.write_text(json.dumps(found, indent=1) + "\n")
            partial.replace(flags.out)
    return failed, refused


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


def measured(name: str, case: Case, flags: argparse.Namespace) -> dict:
    """Everything that is measured of one case."""
    words = ["tiny"] if flags.tiny else []
    facts, ready, ceilings, memory, foreign = {}, {}, [], {}, []
    times: dict[str, dict] = {what: {side: [] for side in SIDES} for what in case.measures}
    with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:

        def worker(side: str, folder: str, *more: str) -> Worker:
            return stack.enter_context(Worker(side, name, flags.suite, folder, *words, *more))

        for sides in [[side] for side in SIDES] if case.apart else [SIDES]:
            workers = {}
            for side in sides:  # one after the other: neither compiles while the other one starts
                workers[side] = worker(side, cache)
                facts[side] = workers[side].ask("facts")
                ready[side] = workers[side].age()
            ceilings += [one.ask("ceiling")["gflops"] for one in workers.values()]
            foreign.append(in_turns(workers, times, flags.rounds or case.rounds))
            for side, one in workers.items():
                memory[side] = one.ask("memory")
                one.end()
        compiled = facts["diffax"]
        cached = {}
        if case.again:
            again = worker("diffax", cache)
            again.ask("facts")
            ready["diffax, cached"] = again.age()
            again.end()
            alone = []
            for _ in ("cold", "cached"):
                one = worker("diffax", f"{cache}/alone", "compile")
                alone.append(one.ask("facts"))
                one.end()
            compiled = alone[0]
            cached = {"cached_compile_s": alone[1]["compile"]}
    return {
        "title": case.title,
        "facts": facts,
        "calls": case.calls,
        "times": {what: {s: _summary(runs) for s, runs in t.items()} for what, t in times.items()},
        "speed": {
            what: statistics.median(
                b["seconds"] / a["seconds"] for a, b in zip(t["diffax"], t["torch"], strict=True)
            )
            for what, t in times.items()
        },
        "memory_gib": memory,
        "ready_s": ready,
        "compile_s": compiled["compile"],
        "compile_processor_s": compiled["compile_processor"],
        **cached,
        "ceiling_gflops": max(ceilings),
        "foreign": max(foreign),
    }


def in_turns(workers: dict[str, Worker], times: dict[str, dict], rounds: int) -> float:
    """Adds each side's times of every round, and gives what share of all cores others took."""
    for what in times:
        for worker in workers.values():
            worker.ask(what)  # warm
    others = Others(*workers.values())
    for _ in range(rounds):
        for what, runs in times.items():
            for side, worker in workers.items():
                runs[side].append(worker.ask(what))
    return others.share()


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    seconds = [run["seconds"] for run in runs]
    return {
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "processor": statistics.median(run["processor"] for run in runs),
    }


class WorkerEnded(Exception):
    """A side's process is gone, out of memory perhaps."""


class Worker:
    """A side of a case, in a process of its own."""

    def __init__(self, side: str, name: str, suite: str, cache: str, *words: str) -> None:
        self.began, self.side = time.perf_counter(), side
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if suite == "cpu":
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        else:  # two processes on one GPU: neither may take its memory beforehand
            environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{side}_worker", name, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def ask(self, word: str) -> dict:
        """The worker's answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise WorkerEnded(f"{self.side}'s process ended at {word!r}; what it said is above")

    def age(self) -> float:
        """Seconds since the process began."""
        return time.perf_counter() - self.began

    def processor(self) -> float:
        """Seconds of processor time it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def end(self) -> None:
        """Lets it end, and waits for that: its memory is the next one's."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
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
