"""Training from the first line to the last: start or continue, step, log, show, save, sum up."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffax import plotting
from diffax.data import Loader
from diffax.generation import Model, Samples, generate
from diffax.training import images
from diffax.training.callbacks import Listeners
from diffax.training.choices import to_json
from diffax.training.clock import Clock, Tracer, memory_mb
from diffax.training.config import Config
from diffax.training.distributed import any_process, is_first
from diffax.training.finish import finish
from diffax.training.keeping import voice
from diffax.training.keeping.checkpoint import Checkpoints
from diffax.training.keeping.frozen import check_frozen
from diffax.training.keeping.journal import Journal
from diffax.training.keeping.keep import Keep
from diffax.training.keeping.lock import hold
from diffax.training.keeping.mirror import Mirror, mirrored
from diffax.training.keeping.signals import Interrupted, StopRequest
from diffax.training.keeping.workdir import check_change, check_workdir, claim, previous_config
from diffax.training.metrics import NonFinite, SpikeDetector, Window
from diffax.training.recipe import Recipe
from diffax.training.setup import Setup, next_boundary, prepare
from diffax.training.state import TrainState
from diffax.training.stopping import Stopping
from diffax.training.watch import make_evaluate, watched
from diffax.training.writers import Writers, open_writers


@dataclass(frozen=True)
class Options:
    """What the command line says besides the config.

    Attributes:
        allow_config_change: continue although the run was begun with another config.
        fall_back: use an older checkpoint where the newest is broken, instead of stopping.
        profile: leave a trace of some calls in the run's folder.
        quiet: no progress bar and no lines, except warnings.
        before_call: called on the host with the number of steps made, before every compiled call.
        callbacks: told of steps, lines and checkpoints; see `diffax.training.Callback`.
        mirror: address of a copy of the run's folder, see `keeping.mirror`; None: no copy.
    """

    allow_config_change: bool = False
    fall_back: bool = True
    profile: bool = False
    quiet: bool = False
    before_call: Callable[[int], None] | None = None
    callbacks: tuple[Any, ...] = ()
    mirror: str | None = None


def train_recipe(
    recipe: Recipe, config: Config, workdir: Path, options: Options = Options()
) -> int:
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
    say = _silent if options.quiet else voice.say
    stop = StopRequest()
    try:
        with (
            voice.unfailing(),
            stop,
            hold(check_workdir(workdir), say) as seen,
            mirrored(workdir, options.mirror, stop, seen=seen) as mirror,
        ):
            if mirror is not None:
                say(f"{workdir} is copied to {mirror.address}; {mirror.fetched} files came here")
            old = previous_config(workdir)
            if old is not None:
                check_change(old, config, workdir, allow=options.allow_config_change, say=say)
            setup = prepare(config)
            for line in setup.report().splitlines():
                say(line)
            return _train(recipe, setup, workdir, options, mirror, stop, say)
    except Interrupted:
        return stop.status or 130


def _train(
    recipe: Recipe,
    setup: Setup,
    workdir: Path,
    options: Options,
    mirror: Mirror | None,
    stop: StopRequest,
    say: Callable[[str], None],
) -> int:
    config = setup.config
    train = config.train
    keep = Keep(train.keep_last, train.keep_every, train.keep_best, config.evaluation.better)
    checkpoints = Checkpoints(
        workdir / "checkpoints",
        keep,
        report=voice.warn,
        bring=mirror.bring if mirror is not None and mirror.apart else None,
    )
    if mirror is not None:
        options = dataclasses.replace(options, callbacks=(mirror, *options.callbacks))
    try:
        start = checkpoints.newest_whole(fall_back=options.fall_back)
        state, frozen, window = _begin(setup, checkpoints, start, say)
        claim(workdir, recipe, config)  # only now: nothing else can be refused
        session = _Session(setup, frozen, recipe, workdir, checkpoints, options, stop, say)
        state = session.run(state, window)
        if any_process(stop.status is not None):
            return stop.status or 143  # or another process was told
        try:
            with stop.at_once():
                finish(session, state)
        except Interrupted:
            return stop.status or 130
        return 0
    finally:
        checkpoints.close()


# ---------------------------------------------------------------- before the first step


def _begin(
    setup: Setup, checkpoints: Checkpoints, start: int | None, say: Callable[[str], None]
) -> tuple[TrainState, Any, Window]:
    """What to go on from: 1. the newest whole checkpoint; 2. a fresh state."""
    if start is None:
        state, frozen = setup.start(beside=lambda: setup.compiled)
        return state, frozen, Window()
    record = checkpoints.record(start)
    check_frozen(record.get("frozen", []), setup.references)
    state = checkpoints.restore(start, setup.places[0])
    say(f"continuing at step {start:,} of {setup.config.train.steps:,}")
    return state, setup.frozen(), Window(record["window"])


# ---------------------------------------------------------------- step by step


class _Session:
    """One process's share in a run, from a state to the end or to a signal."""

    def __init__(
        self,
        setup: Setup,
        frozen: Any,
        recipe: Recipe,
        workdir: Path,
        checkpoints: Checkpoints,
        options: Options,
        stop: StopRequest,
        say: Callable[[str], None],
    ) -> None:
        self.setup = setup
        self.frozen = frozen
        self.recipe = recipe
        self.workdir = workdir
        self.checkpoints = checkpoints
        self.options = options
        self.stop = stop
        self.say = say
        self.listeners = Listeners(options.callbacks, checkpoints)
        self.writers = Writers([])  # process 0 has some
        self.saved_metrics: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.evaluate: Any = None

    @property
    def config(self) -> Config:
        """The run's."""
        return self.setup.config

    def run(self, state: TrainState, window: Window) -> TrainState:
        """Takes all steps that are left, or those until a signal; the last state is saved."""
        train = self.config.train
        first = self.first_step = int(state.step)
        journal = Journal(self.workdir, first) if is_first() else None
        rows = journal.rows if journal is not None else []
        self.saved_metrics = rows[-1] if rows else {}
        spikes = SpikeDetector(train.spike_factor, [row["loss"] for row in rows if "loss" in row])
        if first < train.steps and is_first():
            self.writers = open_writers(train, self.workdir, first, to_json(self.config))
        if first >= train.steps:
            if journal is not None:
                journal.close()
            self.say(f"all {train.steps:,} steps are done")
            return state
        call, seconds = self.setup.compiled
        self.say(f"compiled in {seconds:.1f} s")
        loader = self._loader(first)
        clock = Clock(train.batch_size, first)
        tracer = Tracer(self.workdir / "profile") if self.options.profile else None
        bar = voice.progress_bar(
            total=train.steps, initial=first, unit="step", disable=self.options.quiet
        )
        step, stop = first, Stopping(self.stop, self.setup.mesh)
        stopping = stop.after(None)
        newest: dict[str, float] = {}  # the evaluation's figures
        try:
            # A run that was stopped here left the line, and what it needs, for us.
            if self._is_evaluated(first) and window.saved() and not stopping:
                self._log(first, window, journal, spikes, clock, self._evaluate(state, clock))
            with loader:
                while step < train.steps and not stopping:
                    batch = self._next_batch(loader, state, window, step)
                    end = next_boundary(step, self.config)
                    if self.options.before_call is not None:
                        self.options.before_call(step)
                    state, metrics, flag = call(
                        state, self.frozen, batch, np.int32(end - step), stop.flags()
                    )
                    window.add(step, end - step, metrics)
                    window.keep_up()
                    bar.update(end - step)
                    step = end
                    stopping = stop.after(flag)
                    clock.called(step, loader)
                    if tracer is not None:
                        tracer.called(metrics)
                    evaluate, row = self._is_evaluated(step), None
                    if stopping and evaluate and step < train.steps:
                        pass  # save at once: this line and its figures are the next run's
                    elif evaluate or step % train.log_every == 0 or step == train.steps:
                        figures = self._evaluate(state, clock) if evaluate else {}
                        row = self._log(step, window, journal, spikes, clock, figures)
                        newest = figures or newest
                        bar.set_postfix_str(_postfix(row, newest, clock))
                    due = step % train.save_every == 0 or step == train.steps
                    if due or stopping:
                        self._save(state, window, step)
                    if train.sample_every and step % train.sample_every == 0 and not stopping:
                        began = time.perf_counter()
                        self._show(state, step, journal)
                        clock.leave_out(time.perf_counter() - began)
                    with self._nothing_lost(state, window, step):
                        self.listeners.tell(step, state, row)
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
            self.writers.close()
        self.checkpoints.wait()
        self.listeners.tell_saved()
        self._end_of_training(step, clock, stopping)
        return state

    def _next_batch(self, loader: Loader, state: TrainState, window: Window, step: int) -> Any:
        with self._nothing_lost(state, window, step):
            return next(loader)

    @contextlib.contextmanager
    def _nothing_lost(self, state: TrainState, window: Window, step: int) -> Iterator[None]:
        """Where something is raised, what was learned so far is saved."""
        try:
            yield
        except Exception:
            if step > self.first_step and jax.process_count() == 1:
                self._save(state, window, step)
                self.checkpoints.settle()
            raise

    def _loader(self, first: int) -> Loader:
        train = self.config.train
        return Loader(
            self.setup.dataset,
            seed=train.seed,
            batch_size=train.batch_size,
            start=first,
            stop=train.steps,
            stack=lambda step: next_boundary(step, self.config) - step,
            workers=train.workers,
            place=self.setup.place,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def _is_evaluated(self, step: int) -> bool:
        """Whether the recipe's metrics are computed after so many steps."""
        every = self.config.evaluation.every
        return every > 0 and step > 0 and step % every == 0

    def _evaluate(self, state: TrainState, clock: Clock) -> dict[str, float]:
        """The recipe's metrics, on the averaged parameters."""
        began = time.perf_counter()
        if self.evaluate is None:
            self.evaluate = make_evaluate(self.setup)
        view = watched(
            self.setup, self.evaluate, self.averaged(state), self.frozen, self.model(state)
        )
        figures: dict[str, float] = {}
        for metric in self.config.evaluation.metrics:
            figures |= metric(view)
        clock.leave_out(time.perf_counter() - began)
        return figures

    def _log(
        self,
        step: int,
        window: Window,
        journal: Journal | None,
        spikes: SpikeDetector,
        clock: Clock,
        figures: dict[str, float],
    ) -> dict[str, float]:
        train = self.config.train
        window.collect(refuse_nonfinite=train.nonfinite == "stop")
        row = {"step": step, "images": step * train.batch_size, **window.row(), **figures}
        rate = self.config.optimizer.learning_rate_at(
            step - 1, steps=train.steps, batch_size=train.batch_size
        )
        row |= {} if rate is None else {"learning_rate": float(rate)}
        clock.logged(step)
        if journal is not None:
            with _reported("a line of metrics"):
                journal.write(row)
            self.writers.write(step, row | clock.speed() | {"memory_mb": memory_mb()})
            warning = spikes.check(row["loss"]) if "loss" in row else None
            if warning:
                voice.warn(f"step {step}: {warning}")
        if row.get("nonfinite"):
            voice.warn(f"step {step}: {row['nonfinite']} updates were not finite and left out")
        self.saved_metrics = row
        return row

    def _save(self, state: TrainState, window: Window, step: int) -> None:
        train = self.config.train
        window.collect(refuse_nonfinite=train.nonfinite == "stop")
        record = {
            "recipe": str(self.recipe.path),
            "config": to_json(self.config),
            "facts": self.setup.spec.to_json(),
            "frozen": self.setup.references,
            "data": {"seed": train.seed, "batch_size": train.batch_size, "next_step": step},
            "window": window.saved(),
            "metrics": self._metrics_at(step),
            "averages": list(self.config.ema.names),
        }
        self.checkpoints.save(state, record)
        self.listeners.saving(step)

    def _metrics_at(self, step: int) -> dict[str, float]:
        """The last line; figures of another step's parameters say nothing about these."""
        row = self.saved_metrics
        if row.get("step") == step:
            return row
        return {name: v for name, v in row.items() if name not in self.config.evaluation.better}

    def _show(self, state: TrainState, step: int, journal: Journal | None) -> None:
        model = self.model(state)
        if model is None:
            return
        samples = self.samples(model)
        if journal is None:
            return
        image = images.grid(samples)
        if image is not None:
            with _reported("a grid of samples"):
                plotting.save_image(self.workdir / "samples" / f"{step:08d}.png", image)
            self.writers.image(step, "samples", image)
        denoising = images.strip(model, samples)
        if denoising is not None:
            self.writers.image(step, "denoising", denoising)

    def averaged(self, state: TrainState) -> Any:
        """The first average of what is learned; without averages, the parameters themselves."""
        names = self.config.ema.names
        return state.ema[names[0]] if names else state.trainable

    def model(self, state: TrainState) -> Model | None:
        """The model with the averaged parameters."""
        return self.setup.objective.model(self.averaged(state), self.frozen, self.config.sample)

    def samples(self, model: Model) -> Samples:
        """Samples as the recipe asks for them."""
        path = images.keeps_path(model, self.config.sample.num)
        return generate(model, num=self.config.sample.num, trajectory=path)

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


def _postfix(row: dict[str, float], newest: dict[str, float], clock: Clock) -> str:
    speed = clock.images_per_second
    parts = [f"loss {row.get('loss', float('nan')):.4f}"]
    parts += [f"{name} {value:.4g}" for name, value in list(newest.items())[:1]]
    parts += [f"{speed:,.0f} images/s"] if speed else []  # nothing is known of the first call
    return ", ".join([*parts, f"{memory_mb() / 1024:.1f} GiB"])


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """A file that cannot be written is reported; training goes on."""
    try:
        yield
    except OSError as error:
        voice.warn(f"{what} could not be written: {error}")


def _silent(line: str) -> None:
    """Says nothing."""
