"""Images of a class, made by the model itself before it is tuned (Ruiz et al. 2023, 3.2)."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from diffax import plotting
from diffax.data import Concept
from diffax.data.image_folder import ENDINGS
from diffax.generation import generate
from diffax.training.base import base_model
from diffax.training.config import Config
from diffax.training.distributed import by_first
from diffax.training.keeping import voice

_AT_ONCE = 4


def make_class_images(config: Config) -> None:
    """Fills `data.class_dir` up to `data.class_images` images, by the model that is to be tuned.

    Image i depends on `train.seed` and i only: whoever interrupts it continues with the same
    command. A folder with images enough is left as it is.

    Args:
        config: of a run on `Concept` data; without `class_dir` nothing is done.

    Raises:
        FileNotFoundError, ValueError: as `load_pipeline`.
    """
    data = config.data
    if isinstance(data, Concept) and data.class_dir is not None:
        by_first(lambda: _fill(config, data, Path(data.class_dir).expanduser()))


def _fill(config: Config, data: Concept, folder: Path) -> int:
    there = {path.name for path in folder.glob("*") if path.suffix.lower() in ENDINGS}
    names = [f"{i:05d}.png" for i in range(data.class_images)]
    wanted = [i for i, name in enumerate(names) if name not in there]
    wanted = wanted[: max(data.class_images - len(there), 0)]
    if not wanted:
        return 0
    voice.say(f"making {len(wanted)} images of {data.class_prompt!r} in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    model = base_model(config)
    height, width = data.size or (None, None)
    for start in tqdm(range(0, len(wanted), _AT_ONCE), unit=f"x{_AT_ONCE} images"):
        rows = wanted[start : start + _AT_ONCE]
        samples = generate(
            model,
            prompt=data.class_prompt,
            num=len(rows),
            seed=[config.train.seed + i for i in rows],
            steps=config.sample.steps,
            guidance=config.sample.guidance,
            height=height,
            width=width,
        )
        for i, image in zip(rows, samples.images, strict=True):
            plotting.save_image(folder / names[i], image)
    return 0
