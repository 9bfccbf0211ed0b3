"""Measures what `docs/samplers.md` states of the samplers, and writes it there.

    JAX_PLATFORMS=cpu python benchmarks/sampler_proofs.py [solvers] [orders] [marginals] [agreement]

Orders take a minute, marginals a few, agreement with diffusers (from the golden table, without
diffusers) about ten. The tests hold the same figures to their limits; this prints them.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import jax
import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

from diffax.solvers import registry

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "solvers"))
PAGE = ROOT / "docs" / "samplers.md"
FIGURE = ROOT / "docs" / "images" / "solver_order.png"


def main() -> None:
    """Run the parts named on the command line, or all."""
    parts = {
        "solvers": registry.table,
        "orders": orders,
        "marginals": marginals,
        "agreement": agreement,
    }
    for name in sys.argv[1:] or parts:
        write(name, parts[name]())


def write(part: str, table: str, page: Path = PAGE) -> None:
    """Put a table between its two marks on the page."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    text = page.read_text()
    if begin not in text:
        raise ValueError(f"{page} has no mark {begin}")
    between = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    page.write_text(between.sub(lambda _: f"{begin}\n{table}\n{end}", text))
    print(table)


def label(name: str, options: dict) -> str:
    """A solver with its options, in one cell."""
    return f"`{name}`" + "".join(f" {key}={value}" for key, value in options.items())


def orders() -> str:
    """Slopes, and the figure of all of them."""
    import orders as order
    import test_orders

    lines = ["| solver | stated | measured | error at 12 steps | at 192 |", "|---|---|---|---|---|"]
    curves = {}
    with jax.enable_x64(True):
        exact = order.answers()
        for name, options in test_orders.QUICK + test_orders.REST:
            stated = order.stated(name, options)
            error = order.errors(name, exact, **options)
            slope = order.slope(order.COUNTS, error)
            curves[label(name, options).replace("`", "")] = stated, error
            lines.append(
                f"| {label(name, options)} | {stated} | {slope:.2f} | {error[0]:.1e} "
                f"| {error[-1]:.1e} |"
            )
    draw(order.COUNTS, curves)
    return "\n".join(lines)


def draw(counts, curves) -> None:
    """Error against steps, one panel an order."""
    figure, panels = plt.subplots(1, 4, figsize=(15, 7), sharey=True)
    for stated, panel in zip((1, 2, 3, 4), panels, strict=True):
        group = {name: error for name, (order, error) in curves.items() if order == stated}
        for place, (name, error) in enumerate(group.items()):
            dash = "-" if place < 10 else ":"
            panel.loglog(counts, error, dash, marker="o", markersize=3, linewidth=1, label=name)
        top = max(error[0] for error in group.values())
        guide = 2 * top * (np.array(counts) / counts[0]) ** -float(stated)
        panel.loglog(counts, guide, "k--", linewidth=1, label=f"slope -{stated}")
        panel.set_title(f"order {stated}")
        panel.set_xlabel("steps")
        panel.set_xticks(counts, counts)
        panel.minorticks_off()
        panel.legend(
            fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2
        )
    panels[0].set_ylabel("error at the end (exact answer known)")
    figure.tight_layout()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def marginals() -> str:
    """p-values of mean and variance of 1e5 samples."""
    import test_marginals as test

    lines = [
        "| solver | data | steps | p (mean) | p (variance) |",
        "|---|---|---|---|---|",
    ]
    for name, options in test.EXACT:
        schedule, points = test.setting(name)
        lines.append(row(test, name, options, schedule, points, 0.0, 1))
    for name, options, steps in test.SPREAD:
        lines.append(row(test, name, options, test.SCHEDULE, test.grid(steps), 0.4, 2))
    return "\n".join(lines)


def row(test, name, options, schedule, points, std, seed) -> str:
    """One solver's p-values."""
    solver = registry.build(name, schedule, **options)
    data = test.gaussian_data(0.7, std, name)
    x = np.asarray(test.run(solver, points, data, seed), np.float64).ravel()
    alpha, sigma = float(points.alpha[-1]), float(points.sigma[-1])
    of_mean, of_variance = test.p_values(x, 0.7 * alpha, (std * alpha) ** 2 + sigma**2)
    kind = "point mass" if std == 0 else f"N(0.7, {std}²)"
    steps = len(points.t) - 1
    return f"| {label(name, options)} | {kind} | {steps} | {of_mean:.2f} | {of_variance:.2f} |"


def agreement() -> str:
    """Largest relative errors against diffusers, float32 and float64."""
    import golden
    import test_golden as test

    numbers = test.comparable(range(len(test.CONFIGS)))
    configs = [test.CONFIGS[i] for i in numbers]
    single = golden.run_all(configs)
    with jax.enable_x64(True):
        double = golden.run_all(configs)
    theirs = test.own_error(numbers)
    ours = golden.relative_error(single, test.DOUBLE[numbers])
    between = golden.relative_error(single, test.SINGLE[numbers].astype(np.float64))
    exact = golden.relative_error(double, test.DOUBLE[numbers])
    groups = defaultdict(list)
    for place, (config, _) in enumerate(configs):
        keys = ("algorithm_type", "solver_order", "variance_type", "skip_prk_steps")
        variant = " ".join(str(config[k]) for k in keys if k in config)
        groups[config["_class_name"].removesuffix("Scheduler"), variant].append(place)
    lines = [
        "| diffusers' scheduler | runs | ours - theirs, float32: median, max, share <= 1e-5 "
        "| theirs - float64, max | ours - float64, max | float64: median, max |",
        "|---|---|---|---|---|---|",
    ]
    for (name, variant), places in groups.items():
        share = np.mean(between[places] <= 1e-5)
        lines.append(
            f"| {name} {variant} | {len(places)} | {np.median(between[places]):.1e}, "
            f"{between[places].max():.1e}, {100 * share:.0f} % | {theirs[places].max():.1e} "
            f"| {ours[places].max():.1e} | {np.median(exact[places]):.1e}, "
            f"{exact[places].max():.1e} |"
        )
    total = {
        "runs": len(places := list(range(len(configs)))),
        "float32 share within 1e-5": round(float(np.mean(between[places] <= 1e-5)), 4),
        "float64 share within 1e-9": round(float(np.mean(exact[places] <= 1e-9)), 4),
        "float32, ours closer to float64 than theirs": round(float(np.mean(ours <= theirs)), 4),
    }
    return "\n".join(lines) + "\n\nAll together: " + json.dumps(total)[1:-1].replace('"', "") + "."


if __name__ == "__main__":
    main()
