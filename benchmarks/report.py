"""Results of `python -m benchmarks` as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = {"train": "training step", "forward": "forward", "sample": "sampling"}


def table(found: dict) -> str:
    """Markdown: a line a measurement, then a line a case."""
    lines = [
        "| case | what | diffax | PyTorch | speed | of the ceiling |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for case in found["cases"].values():
        for what, times in case["times"].items():
            cells = [_seconds(times[side]) for side in ("diffax", "torch")]
            of_ceiling = f"{100 * utilization(case, what):.0f} %"
            speed = f"{case['speed'][what]:.2f}"
            row = [case["title"], NAMES[what], *cells, speed, of_ceiling]
            lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "| case | compile cold | processor | cached | ready: diffax | cached | PyTorch "
        "| memory: diffax | PyTorch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case in found["cases"].values():
        compiled = ("compile_s", "compile_processor_s", "cached_compile_s")
        sides = ("diffax", "diffax, cached", "torch")
        cells = [
            case["title"],
            *(f"{case[name]:.1f} s" if name in case else "" for name in compiled),
            *(f"{case['ready_s'][s]:.1f} s" if s in case["ready_s"] else "" for s in sides),
            *(f"{case['memory_gib'][side]:.2f} GiB" for side in ("diffax", "torch")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    device = next(iter(found["cases"].values()))["facts"]
    foreign = max(case["foreign"] for case in found["cases"].values())
    lines += [
        "",
        f"{found['date']}, {device['diffax']['device']}, {found['cores']} cores; jax "
        f"{device['diffax']['jax']}, torch {device['torch']['torch']}, diffusers "
        f"{device['torch']['diffusers']}; others took {100 * foreign:.0f} %.",
    ]
    return "\n".join(lines)


def utilization(case: dict, what: str) -> float:
    """Our share of the matrix ceiling: the network's FLOPs by formula, thrice those in training."""
    flops = case["calls"][what] * case["facts"]["torch"]["forward_flops"]
    return flops / case["times"][what]["diffax"]["median"] / 1e9 / case["ceiling_gflops"]


def plot(found: dict, path: Path) -> None:
    """Bars of our speed over theirs, with the line of equal speed."""
    rows = [
        (f"{name}: {NAMES[what]}", speed)
        for name, case in found["cases"].items()
        for what, speed in case["speed"].items()
    ][::-1]
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.35 * len(rows)), layout="constrained")
    speeds = [speed for _, speed in rows]
    axes.set_xscale("log")
    bars = axes.barh([name for name, _ in rows], [speed - 1 for speed in speeds], left=1)
    axes.bar_label(bars, [f"{speed:.2f}" for speed in speeds], padding=3)
    ticks = [2.0**n for n in range(-4, 8)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(0.4, 0.7 * min(speeds)), max(2.5, 1.4 * max(speeds)))
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times PyTorch's speed (logarithmic)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _seconds(times: dict[str, float]) -> str:
    scale, unit = (1, "s") if times["median"] >= 1 else (1e3, "ms")
    median, least, most = (scale * times[name] for name in ("median", "least", "most"))
    return f"{median:.3g} {unit} ({least:.3g} to {most:.3g})"
