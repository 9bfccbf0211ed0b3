"""Training: one loop for one CPU and for a pod, which loses nothing.

    run = train(objective, data, optimizer, workdir, steps=1000)  # from a script or notebook
    status = train_recipe(recipe, config, workdir)                # as train.py does
    setup = prepare(config)              # all of it built and checked, nothing written
    model = load_run(workdir)            # ready for diffax.generation.generate

`config` and the nouns beside what they describe (`optimizer`, `ema`); `choices` turns recipes into
JSON and back; `state` and `step` are pure; `devices` and `distributed` spread them; `keeping` makes
runs safe; `loop` runs them.
"""

from diffax.training.base import base_model, started_from
from diffax.training.callbacks import Callback
from diffax.training.choices import from_json, to_json
from diffax.training.class_images import make_class_images
from diffax.training.config import Config, TrainConfig
from diffax.training.ema import EMAConfig
from diffax.training.exporting import export_run
from diffax.training.keeping.checkpoint import Checkpoints, CorruptCheckpoint, SaveError
from diffax.training.keeping.keep import Keep
from diffax.training.loop import Options, train_recipe
from diffax.training.metrics import NonFinite
from diffax.training.optimizer import (
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Group,
    InverseSqrt,
    Lion,
    Muon,
    Optimizer,
)
from diffax.training.preflight import dry_run
from diffax.training.publishing import push, save_run
from diffax.training.recipe import Recipe, debugged, load_recipe, unknown_variant
from diffax.training.run import Run, load_codec, load_run, open_run
from diffax.training.script import train
from diffax.training.setup import Setup, prepare
from diffax.training.starting import (
    TrainedAutoencoder,
    TrainedCodes,
    TrainedControl,
    TrainedControlReader,
    TrainedReader,
    TrainedRun,
    TrainedToken,
)
from diffax.training.state import TrainState

__all__ = [
    "SGD",
    "Adafactor",
    "Adam",
    "AdamW",
    "Callback",
    "Checkpoints",
    "Config",
    "Constant",
    "CorruptCheckpoint",
    "Cosine",
    "EMAConfig",
    "Group",
    "InverseSqrt",
    "Keep",
    "Lion",
    "Muon",
    "NonFinite",
    "Optimizer",
    "Options",
    "Recipe",
    "Run",
    "SaveError",
    "Setup",
    "TrainConfig",
    "TrainState",
    "TrainedAutoencoder",
    "TrainedCodes",
    "TrainedControl",
    "TrainedControlReader",
    "TrainedReader",
    "TrainedRun",
    "TrainedToken",
    "base_model",
    "debugged",
    "dry_run",
    "export_run",
    "from_json",
    "load_codec",
    "load_recipe",
    "load_run",
    "make_class_images",
    "open_run",
    "prepare",
    "push",
    "save_run",
    "started_from",
    "to_json",
    "train",
    "train_recipe",
    "unknown_variant",
]
