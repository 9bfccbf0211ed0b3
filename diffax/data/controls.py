"""A second image for each image, which a ControlNet is shown: from a folder, or edges by Canny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffax.data import pixels

CANNY = "canny"
_LOW, _HIGH = 100, 200  # of the gradient, as published edge ControlNets were trained


def edges(image: np.ndarray) -> np.ndarray:
    """White edges on black (Canny 1986), by OpenCV.

    Args:
        image: uint8 [H, W, C].

    Returns:
        uint8 [H, W, 3], 0 or 255.

    Raises:
        ValueError: OpenCV is not installed.
    """
    try:
        import cv2  # pyrefly: ignore[missing-import]  # optional
    except ImportError:
        raise ValueError(
            "edges need OpenCV: pip install 'diffax[edges]', or give a folder of control images"
        ) from None
    found = cv2.Canny(np.ascontiguousarray(image), _LOW, _HIGH)
    return np.repeat(found[..., None], 3, axis=-1)


def partners(root: Path, control: Path, names: list[str], endings: tuple[str, ...]) -> list[Path]:
    """The control image of every image: the same name in another folder, with any ending.

    Args:
        root: folder of the images, for the error.
        control: folder of the control images.
        names: of the images, relative to `root`.
        endings: of image files.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: images without a partner, or with several.
    """
    if not control.is_dir():
        raise FileNotFoundError(
            f"there is no folder {control}; set data.control to a folder or to {CANNY}"
        )
    found: dict[str, list[Path]] = {}
    for path in sorted(control.rglob("*")):
        if path.suffix.lower() in endings:
            stem = path.relative_to(control).with_suffix("").as_posix()
            found.setdefault(stem, []).append(path)
    stems = [Path(name).with_suffix("").as_posix() for name in names]
    missing = [name for name, stem in zip(names, stems, strict=True) if stem not in found]
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(names):,} images in {root} have no partner in {control}, "
            f"the first: {missing[0]}; expected the same name there, with any ending"
        )
    double = [stem for stem in stems if len(found[stem]) > 1]
    if double:
        raise ValueError(f"{control} holds several partners of {double[0]}; leave one of them")
    return [found[stem][0] for stem in stems]


def reader(
    control: str, root: Path, names: list[str], endings: tuple[str, ...]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What gives control images, uint8 [B, H, W, 3], of rows [B] and their images [B, H, W, C]."""
    if control == CANNY:
        return lambda rows, images: np.stack([edges(image) for image in images])
    paths = partners(root, Path(control).expanduser(), names, endings)

    def read(rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        size = images.shape[1:3]
        return np.stack([pixels.fit(pixels.decode(paths[row], channels=3), size) for row in rows])

    return read
