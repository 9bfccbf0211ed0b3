"""Data: (seed, step) -> batch, deterministic, the same for any count of workers and processes.

    dataset = load(DataConfig(name="digits", flip=True))
    dataset.batch(step, seed=0, batch_size=128)                    # {"x": ..., "label": ...}
    Loader(dataset, seed=0, batch_size=128, start=step, stack=10)  # the same, prepared ahead

Sources: `toy` (2-D sets), `digits`, `image_folder`, `arrays` (.npy, .npz), `tfds_source` (prepared
TensorFlow data sets, by name). This room knows NumPy and Pillow, not JAX.
"""

from diffax.data.catalogue import load
from diffax.data.config import DataConfig
from diffax.data.dataset import Dataset
from diffax.data.loader import Loader
from diffax.data.source import Batch, Source

__all__ = ["Batch", "DataConfig", "Dataset", "Loader", "Source", "load"]
