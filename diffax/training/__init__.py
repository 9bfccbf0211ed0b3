"""Training: one loop for one CPU and for a pod, which loses nothing.

    setup = prepare(config)              # data, model, optimizer, mesh: checked, nothing written
    status = train(recipe, config, workdir)
    run = load_run(workdir)              # parameters, schedule, facts of the data
    run.sample(16).images

`config` and the sections beside what they describe (`noise`, `optimizer`, `ema`, `generate`);
`state` and `step` are pure; `devices` and `distributed` spread them; the room `keeping` keeps them
safe; `loop` runs them.
"""

from diffax.training.config import Config, TrainConfig, from_json, to_json
from diffax.training.ema import EMAConfig
from diffax.training.generate import SampleConfig, Samples, generate
from diffax.training.keeping.checkpoint import Checkpoints, CorruptCheckpoint, Keep, SaveError
from diffax.training.loop import Options, train
from diffax.training.metrics import NonFinite
from diffax.training.noise import LossConfig, ScheduleConfig
from diffax.training.optimizer import OptimizerConfig
from diffax.training.preflight import dry_run
from diffax.training.recipe import Recipe, load_recipe, unknown_variant
from diffax.training.run import Facts, Run, load_run
from diffax.training.setup import Setup, prepare
from diffax.training.state import TrainState

__all__ = [
    "Checkpoints",
    "Config",
    "CorruptCheckpoint",
    "EMAConfig",
    "Facts",
    "Keep",
    "LossConfig",
    "NonFinite",
    "OptimizerConfig",
    "Options",
    "Recipe",
    "Run",
    "SampleConfig",
    "Samples",
    "SaveError",
    "ScheduleConfig",
    "Setup",
    "TrainConfig",
    "TrainState",
    "dry_run",
    "from_json",
    "generate",
    "load_recipe",
    "load_run",
    "prepare",
    "to_json",
    "train",
    "unknown_variant",
]
