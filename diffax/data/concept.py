"""A few images of one thing, with texts that name it, and other things of its kind beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffax.data.dataset import Dataset
from diffax.data.image_folder import ImageFolder
from diffax.data.options import ImageOptions
from diffax.data.source import Batch, Source
from diffax.data.spec import Column


@dataclass(frozen=True)
class Concept(ImageOptions):
    """Images of one thing, each with every one of some texts that name it.

    For textual inversion (Gal et al. 2022) and DreamBooth (Ruiz et al. 2023). With `class_dir`
    every second example is an image of the class instead, whose loss counts `prior_weight` times as
    much: prior preservation.

    Example:
        >>> Concept(name="sks dog").texts()
        ('a photo of sks dog',)
    """

    dir: str | None = None
    """The folder of the images."""

    name: str = "sks"
    """What the thing is called: takes the place of {} in the prompts."""

    prompts: tuple[str, ...] = ("a photo of {}",)
    """Texts, each of which goes with every image."""

    class_dir: str | None = None
    """A folder of images of the class, against forgetting; None: none."""

    class_prompt: str = ""
    """The text of every image of the class, such as "a photo of a dog"."""

    class_images: int = 100
    """Images of the class that are made before the run, where the folder holds fewer."""

    prior_weight: float = 1.0
    """How much the class counts beside the thing, >= 0."""

    def __post_init__(self) -> None:
        """Checks every value that can be judged without looking at the data."""
        super().__post_init__()
        if isinstance(self.prompts, list):  # as JSON brings it back
            object.__setattr__(self, "prompts", tuple(self.prompts))
        if not self.prompts or not all("{}" in prompt for prompt in self.prompts):
            raise ValueError(
                f"data.prompts must be texts with {{}} where data.name goes, got {self.prompts}"
            )
        if (self.class_dir is None) != (not self.class_prompt):
            raise ValueError(
                "data.class_dir and data.class_prompt belong together: give both, or neither"
            )
        if self.class_images < 1:
            raise ValueError(f"data.class_images must be >= 1, got {self.class_images}")
        if not 0 <= self.prior_weight < float("inf"):
            raise ValueError(f"data.prior_weight must be >= 0, got {self.prior_weight}")

    def texts(self) -> tuple[str, ...]:
        """The prompts with the name in them."""
        return tuple(prompt.replace("{}", self.name) for prompt in self.prompts)

    def load(self) -> Dataset:
        """Opens the folders.

        Raises:
            FileNotFoundError, ValueError: as `ImageFolder`.
        """
        own = _images(self, self.dir, "data.dir")
        texts = np.array(self.texts())
        size = own.size * len(texts)

        def read(indices: np.ndarray) -> Batch:
            image, text = np.divmod(indices, len(texts))
            return {**own.read(image), "caption": texts[text]}

        columns = {**own.columns, "caption": Column((), "str")}
        notes = (*own.notes, f"each with {len(texts)} texts, the first: {texts[0]}")
        source = replace(own, columns=columns, size=size, read=read, notes=notes)
        if self.class_dir is not None:
            if not Path(self.class_dir).expanduser().is_dir():
                raise FileNotFoundError(
                    f"there is no folder {self.class_dir}; train.py fills data.class_dir where the "
                    "recipe is dreambooth, or put images of the class there"
                )
            prior = _images(self, self.class_dir, "data.class_dir")
            source = _beside(source, prior, self.class_prompt, self.prior_weight)
        return Dataset("concept", source, self)


def _images(options: Concept, folder: str | None, field: str) -> Source:
    """The images of a folder, without labels, as large as `options` say."""
    if folder is None:
        raise ValueError(f"concept needs {field}, the folder of the images")
    return ImageFolder(dir=folder, image_size=options.stored_size, labels=False).load().source


def _beside(source: Source, prior: Source, text: str, weight: float) -> Source:
    """Pairs of an example and one of the class, so that a batch of even size has as many of both.

    The mean over such a batch of `2 loss` and `2 weight loss` is the sum of both means.
    """
    if source.columns["x"] != prior.columns["x"]:
        raise ValueError(
            f"the images are {list(source.columns['x'].shape)}, those of the class "
            f"{list(prior.columns['x'].shape)}; set data.image_size"
        )
    # Every image of the thing equally often, every one of the class at least once.
    pairs = source.size * -(-prior.size // source.size)

    def read(indices: np.ndarray) -> Batch:
        pair, is_prior = np.divmod(indices, 2)
        is_prior = is_prior.astype(bool)
        own = source.read(pair % source.size)
        x, captions = own["x"].copy(), own["caption"].astype(object)
        if is_prior.any():
            x[is_prior] = prior.read(pair[is_prior] % prior.size)["x"]
            captions[is_prior] = text
        weights = np.where(is_prior, 2 * weight, 2.0).astype(np.float32)
        return {"x": x, "caption": captions.astype(str), "weight": weights}

    return replace(
        source,
        columns={**source.columns, "weight": Column((), "float32")},
        size=2 * pairs,
        read=read,
        group=2,
        rejects=source.rejects + prior.rejects,
        notes=(*source.notes, f"every second one of {prior.size:,} images of the class: {text}"),
    )
