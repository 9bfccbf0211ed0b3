"""Data: (seed, step) -> batch, deterministic, the same for any count of workers and processes.

    dataset = Digits(split="train", flip=True).load()
    dataset.spec                                                   # columns, size, class names
    dataset.batch(step, seed=0, batch_size=128)                    # {"x": ..., "label": ...}
    Loader(dataset, seed=0, batch_size=128, start=step, stack=10)  # the same, prepared ahead

A recipe names its data by one of these records, each with its own fields: `Toy` (2-D sets drawn on
A recipe names its data by one of eight records, each with its own fields: `Toy` (2-D sets drawn on
the spot), `Digits`, `ImageFolder`, `Concept` (a few images of one thing), `ArrayFile` (.npy, .npz),
`Pairs` (samples with their noise), `TFDS` (prepared TensorFlow data sets),
`Parquet` (image files in parquet, as on the hub). Data that a script has
already, arrays or anything with a length, go through `given`. Another kind of data is
one more such record, whose `load` describes what it has as a `Source` and gives a `Dataset` of it.
Batches hold raw data: turning them into what a network sees is a codec's work. This room knows
NumPy and Pillow, not JAX.
`Pairs` (samples with their noise), `TFDS` (prepared TensorFlow data sets), `AudioFolder` (.wav,
.flac), `Tones` (notes, synthesised on the spot), `TimeSeries` (.npy, .csv), `Oscillations` (a
Gaussian process). Another kind of data is one more such record, whose `load` describes what it has
as a `Source` and gives a `Dataset` of it. Batches hold raw data: turning them into what a network
sees is a codec's work. This room knows NumPy and Pillow, not JAX.
A recipe names its data by one of eight records, each with its own fields: `Toy` (2-D sets drawn on
`Pairs` (samples with their noise), `TextFile`, `TFDS` (prepared TensorFlow data sets). Another kind
of data is one more such record, whose `load` describes what it has as a `Source` and gives a
`Dataset` of it. Batches hold raw data: turning them into what a network sees is a codec's work.
This room knows NumPy and Pillow, not JAX.
"""

from diffax.data.array_file import ArrayFile
from diffax.data.audio_folder import AudioFolder
from diffax.data.concept import Concept
from diffax.data.dataset import Dataset
from diffax.data.digits import Digits
from diffax.data.given import Given, given
from diffax.data.image_folder import ImageFolder
from diffax.data.loader import Loader
from diffax.data.options import ImageOptions
from diffax.data.oscillations import Oscillations
from diffax.data.pairs import Pairs
from diffax.data.parquet import Parquet
from diffax.data.source import Batch, Source
from diffax.data.spec import Column, Spec
from diffax.data.text_file import TextFile
from diffax.data.tfds import TFDS
from diffax.data.time_series import TimeSeries
from diffax.data.tones import Tones
from diffax.data.toy import Toy

BY_NAME: dict[str, type] = {  # as command lines call them
    "toy": Toy,
    "digits": Digits,
    "image_folder": ImageFolder,
    "concept": Concept,
    "array": ArrayFile,
    "pairs": Pairs,
    "tfds": TFDS,
    "tones": Tones,
    "audio_folder": AudioFolder,
    "time_series": TimeSeries,
    "oscillations": Oscillations,
    "text_file": TextFile,
    "parquet": Parquet,
}

__all__ = [
    "BY_NAME",
    "TFDS",
    "ArrayFile",
    "AudioFolder",
    "Batch",
    "Column",
    "Concept",
    "Dataset",
    "Digits",
    "Given",
    "ImageFolder",
    "ImageOptions",
    "Loader",
    "Oscillations",
    "Pairs",
    "Parquet",
    "Source",
    "Spec",
    "TextFile",
    "TimeSeries",
    "Tones",
    "Toy",
    "given",
]
