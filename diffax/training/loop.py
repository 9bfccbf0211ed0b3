"""Training from the first line to the last: start or continue, step, log, show, save, sum up."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from diffax import plotting
from diffax.data import Loader
from diffax.training import devices, pictures
from diffax.training.clock import Clock, Tracer, memory_mb
from diffax.training.config import Config, to_json
from diffax.training.distributed import any_process, is_first
from diffax.training.generate import Samples, generate
from diffax.training.keeping import manifest
from diffax.training.keeping.checkpoint import Checkpoints, Keep
from diffax.training.keeping.journal import Journal
from diffax.training.keeping.signals import Interrupted, StopRequest
from diffax.training.keeping.workdir import check_change, claim, previous_config
from diffax.training.metrics import NonFinite, SpikeDetector, Window
from diffax.training.recipe import Recipe
from diffax.training.run import Run, facts_to_json
from diffax.training.setup import Setup, next_boundary, prepare
from diffax.training.state import TrainState, initial_state


@dataclass(frozen=True)
class Options:
    """What the command line says besides the config.

    Attributes:
        allow_config_change: continue although the run was begun with another config.
        fall_back: use an older checkpoint where the newest is broken, instead of stopping.
        profile: leave a trace of some calls in the run's folder.
        quiet: no progress bar and no lines, except warnings.
    """

    allow_config_change: bool = False
    fall_back: bool = True
    profile: bool = False
    quiet: bool = False


def train(recipe: Recipe, config: Config, workdir: Path, options: Options = Options()) -> int:
    """Trains until `config.train.steps`, from wherever the run's folder has got to.

    Args:
        recipe: where the config comes from.
        config: resolved.
        workdir: the run's folder; made where missing.
        options: see `Options`.

    Returns:
        The exit status: 0 when all steps are done, 143 or 130 when a signal ended it before.

    Raises:
        ValueError, FileNotFoundError: something does not fit; nothing was overwritten.
        NonFinite: a loss or gradient was not finite.
        SaveError: the last checkpoint could not be written.
    """
    with StopRequest() as stop:
        say = _speaker(options.quiet)
        old = previous_config(workdir)
        if old is not None:
            check_change(old, config, workdir, allow=options.allow_config_change, say=say)
        setup = prepare(config)
        say(setup.report())
        checkpoints = Checkpoints(
            workdir / "checkpoints",
            Keep(config.train.keep_last, config.train.keep_every, config.train.keep_best),
            report=_warn,
        )
        try:
            start = checkpoints.newest_whole(fall_back=options.fall_back)
            state, window = _begin(setup, checkpoints, start, say)
            claim(workdir, recipe, config)  # only now: nothing else can be refused
            session = _Session(setup, recipe, workdir, checkpoints, options, stop, say)
            state = session.run(state, window)
            if any_process(stop.status is not None):
                return stop.status or 143  # or another process was told
            stop.immediate = True
            try:
                session.finish(state)
            except Interrupted:
                return stop.status
            return 0
        finally:
            stop.immediate = False
            checkpoints.close()


# ---------------------------------------------------------------- before the first step


def _begin(
    setup: Setup, checkpoints: Checkpoints, start: int | None, say: Callable[[str], None]
) -> tuple[TrainState, Window]:
    """The state to go on from: 1. the newest whole checkpoint; 2. a fresh one."""
    if start is None:
        return initial_state(setup.init, setup.config.train.seed, setup.abstract), Window()
    record = checkpoints.record(start)
    state = checkpoints.restore(start, setup.abstract)
    say(f"continuing at step {start:,} of {setup.config.train.steps:,}")
    return state, Window(record["window"])


# ---------------------------------------------------------------- step by step


class _Session:
    """One process's share in a run, from a state to the end or to a signal."""

    def __init__(self, setup, recipe, workdir, checkpoints, options, stop, say) -> None:
        self.setup: Setup = setup
        self.recipe: Recipe = recipe
        self.workdir: Path = workdir
        self.checkpoints: Checkpoints = checkpoints
        self.options: Options = options
        self.stop: StopRequest = stop
        self.say: Callable[[str], None] = say
        self.flags: deque[jax.Array] = deque()
        self.saved_metrics: dict[str, float] = {}
        self.speed: dict[str, float] = {}

    def run(self, state: TrainState, window: Window) -> TrainState:
        """Takes all steps that are left, or those until a signal; the last state is saved."""
        train = self.setup.config.train
        first = self.first_step = int(state.step)
        journal = (
            Journal(self.workdir, first, tensorboard=train.tensorboard) if is_first() else None
        )
        rows = journal.rows if journal is not None else []
        self.saved_metrics = rows[-1] if rows else {}
        spikes = SpikeDetector(train.spike_factor, [row["loss"] for row in rows if "loss" in row])
        if first >= train.steps:
            if journal is not None:
                journal.close()
            self.say(f"all {train.steps:,} steps are done")
            return state
        began = time.perf_counter()
        call = self.setup.compile()
        self.say(f"compiled in {time.perf_counter() - began:.1f} s")
        loader = self._loader(first)
        clock = Clock(train.batch_size, first)
        tracer = Tracer(self.workdir / "profile") if self.options.profile else None
        bar = tqdm(
            total=train.steps,
            initial=first,
            unit="step",
            disable=self.options.quiet or not is_first(),
            dynamic_ncols=True,
            mininterval=0.5,
        )
        step, stopping = first, self._asked_to_stop(None)
        try:
            with loader:
                while step < train.steps and not stopping:
                    batch = self._next_batch(loader, state, window, step)
                    end = next_boundary(step, train)
                    state, metrics, flag = call(
                        state, batch, np.int32(end - step), self._stop_flags()
                    )
                    window.add(step, end - step, metrics)
                    window.keep_up()
                    bar.update(end - step)
                    step = end
                    stopping = self._asked_to_stop(flag)
                    clock.called(step, loader)
                    if tracer is not None:
                        tracer.called(metrics)
                    if step % train.log_every == 0 or step == train.steps:
                        row = self._log(step, window, journal, spikes, clock)
                        bar.set_postfix_str(
                            f"loss {row.get('loss', float('nan')):.4f}, "
                            f"{clock.images_per_second:,.0f} images/s, "
                            f"{memory_mb() / 1024:.1f} GiB"
                        )
                    due = step % train.save_every == 0 or step == train.steps
                    if due or stopping:
                        self._save(state, window, step)
                    if train.sample_every and step % train.sample_every == 0 and not stopping:
                        began = time.perf_counter()
                        self._show(state, step, journal)
                        clock.leave_out(time.perf_counter() - began)
                if stopping and step == first:
                    self._save(state, window, step)
        except NonFinite as error:
            raise NonFinite(self._nonfinite_text(error)) from None
        finally:
            bar.close()
            if tracer is not None:
                tracer.close(self.say)
            if journal is not None:
                journal.close()
        self.checkpoints.wait()
        self._end_of_training(step, clock, stopping)
        return state

    def _next_batch(self, loader: Loader, state: TrainState, window: Window, step: int) -> Any:
        """The next batch; where there is none, what was learned so far is saved."""
        try:
            return next(loader)
        except Exception:
            if step > self.first_step and jax.process_count() == 1:
                self._save(state, window, step)
                self.checkpoints.settle()
            raise

    def _loader(self, first: int) -> Loader:
        train = self.setup.config.train
        return Loader(
            self.setup.dataset,
            seed=train.seed,
            batch_size=train.batch_size,
            start=first,
            stop=train.steps,
            stack=lambda step: next_boundary(step, train) - step,
            workers=train.workers,
            place=self.setup.place,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def _stop_flags(self) -> jax.Array:
        """This process's wish to stop, as its part of an array that all processes can see."""
        mesh: Mesh = self.setup.mesh
        local = np.full(len(mesh.local_devices), self.stop.status or 0, np.int32)
        return jax.make_array_from_process_local_data(
            devices.batch_sharding(mesh), local, (mesh.size,)
        )

    def _asked_to_stop(self, flag: jax.Array | None) -> bool:
        """Whether to stop after the call just made: the same answer in all processes.

        Of several, each looks at what all of them wished in the call before the last one: that is
        known without waiting for the devices.
        """
        if jax.process_count() == 1:
            return self.stop.status is not None
        if flag is not None:
            self.flags.append(flag)
        return len(self.flags) > 1 and bool(self.flags.popleft())

    def _log(self, step, window: Window, journal, spikes, clock) -> dict[str, float]:
        config = self.setup.config
        window.collect(refuse_nonfinite=config.train.nonfinite == "stop")
        row = {"step": step, "images": step * config.train.batch_size, **window.row()}
        rate = config.optimizer.learning_rate_at(
            step - 1, steps=config.train.steps, batch_size=config.train.batch_size
        )
        row["learning_rate"] = float(rate)
        clock.logged(step)
        if journal is not None:
            with _reported("a line of metrics"):
                journal.write(
                    row,
                    images_per_second=clock.images_per_second,
                    waiting_for_data=clock.share_waiting,
                    memory_mb=memory_mb(),
                )
            warning = spikes.check(row["loss"]) if "loss" in row else None
            if warning:
                _warn(f"step {step}: {warning}")
        if row.get("nonfinite"):
            _warn(f"step {step}: {row['nonfinite']} updates were not finite and left out")
        self.saved_metrics = row
        return row

    def _save(self, state: TrainState, window: Window, step: int) -> None:
        train = self.setup.config.train
        window.collect(refuse_nonfinite=train.nonfinite == "stop")
        record = {
            "recipe": str(self.recipe.path),
            "config": to_json(self.setup.config),
            "facts": facts_to_json(self.setup.facts),
            "data": {"seed": train.seed, "batch_size": train.batch_size, "next_step": step},
            "window": window.saved(),
            "metrics": self.saved_metrics,
            "averages": list(self.setup.config.ema.names),
        }
        self.checkpoints.save(state, record)

    def _show(self, state: TrainState, step: int, journal: Journal | None) -> None:
        samples = self._samples(state)
        if journal is None:
            return
        picture = pictures.grid(samples, self.setup.facts)
        with _reported("a grid of samples"):
            plotting.save_image(self.workdir / "samples" / f"{step:08d}.png", picture)
        journal.picture("samples", picture, step)
        denoising = pictures.strip(samples, self.setup.facts)
        if denoising is not None:
            journal.picture("denoising", denoising, step)

    def _samples(self, state: TrainState) -> Samples:
        config, problem = self.setup.config, self.setup.problem
        return generate(
            problem.model.apply,
            _averaged(state, config),
            problem.schedule,
            problem.parameterization,
            config.sample,
            self.setup.facts.shape,
            num_classes=problem.num_classes,
            trajectory=pictures.keeps_path(config.sample, self.setup.facts.shape),
        )

    def _nonfinite_text(self, error: NonFinite) -> str:
        self.checkpoints.settle()
        whole = max(self.checkpoints.finished(), default=None)
        kept = "no checkpoint was saved before" if whole is None else f"step {whole} is kept"
        return (
            f"{error}; {kept}; lower optimizer.learning_rate or optimizer.clip, or leave such "
            "updates out with --train.nonfinite skip"
        )

    def _end_of_training(self, step: int, clock: Clock, stopping: bool) -> None:
        self.speed = clock.figures()
        if stopping:
            self.say(f"stopped at step {step:,}, saved; the same command continues")
        self.say(
            f"{self.speed['images_per_second']:,.0f} images/s; "
            f"waiting for data {100 * self.speed['share_waiting_for_data']:.2f} % of the time"
        )

    # ------------------------------------------------------------ after the last step

    def finish(self, state: TrainState) -> None:
        """Leaves the curves, the animations and the summary, unless they are there already."""
        path = self.workdir / "summary.json"
        step = int(state.step)
        alone = jax.process_count() == 1  # a recipe's figures are computed by one process
        if path.is_file():
            summary = json.loads(path.read_text())
            if summary.get("step") == step and (summary.get("complete") or not alone):
                self._print_summary(summary)
                return
        config = self.setup.config
        if config.train.pictures:
            samples = self._samples(state)
            if is_first():
                self._leave_pictures(samples)
        summary: dict[str, Any] = {"step": step, "images": step * config.train.batch_size}
        summary |= {k: v for k, v in self.saved_metrics.items() if k not in summary}
        summary |= self.speed
        if self.recipe.summarize is not None and alone:
            summary |= self.recipe.summarize(self._as_run(state))
        summary["complete"] = self.recipe.summarize is None or alone
        if is_first():
            manifest.write_durably(path, (json.dumps(summary, indent=2) + "\n").encode())
            self._print_summary(summary)

    def _leave_pictures(self, samples: Samples) -> None:
        facts, problem = self.setup.facts, self.setup.problem
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        curve = plotting.loss_curve(map(json.loads, lines), title=self.recipe.title)
        plotting.save_image(self.workdir / "loss.png", curve)
        plotting.save_image(self.workdir / "samples.png", pictures.grid(samples, facts))
        if not pictures.is_small(facts.shape):
            return
        num = self.setup.config.sample.num
        pictures.forward_pictures(
            self.workdir, self.setup.dataset, problem.schedule, facts, num=num
        )
        if samples.path is not None:
            times = np.asarray(self.setup.config.sample.grid(problem.schedule).t)[1:]
            pictures.reverse_animation(self.workdir / "reverse.gif", samples, times, facts)

    def _as_run(self, state: TrainState) -> Run:
        config, problem = self.setup.config, self.setup.problem
        return Run(
            workdir=self.workdir,
            config=config,
            facts=self.setup.facts,
            model=problem.model,
            num_classes=problem.num_classes,
            schedule=problem.schedule,
            parameterization=problem.parameterization,
            params=_averaged(state, config),
            step=int(state.step),
            average=(config.ema.names or ("none",))[0],
        )

    def _print_summary(self, summary: dict[str, Any]) -> None:
        self.say(f"summary of {self.workdir} ({self.recipe.title}):")
        for name, value in summary.items():
            if name == "complete":
                continue
            shown = f"{value:.4g}" if isinstance(value, float) else value
            self.say(f"  {name.replace('_', ' ')}: {shown}")


# ---------------------------------------------------------------- voices


def _averaged(state: TrainState, config: Config) -> Any:
    return state.ema[config.ema.names[0]] if config.ema.names else state.params


def _speaker(quiet: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not quiet and is_first():
            tqdm.write(line)
            sys.stdout.flush()

    return say


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """A file that cannot be written is reported; training goes on."""
    try:
        yield
    except OSError as error:
        _warn(f"{what} could not be written: {error}")


def _warn(line: str) -> None:
    if is_first():
        tqdm.write(f"warning: {line}", file=sys.stderr)
