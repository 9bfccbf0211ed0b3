"""Images a person looks at: grids, strips, animations, clouds of vectors, curves.

Every function turns numbers into an image, uint8 [H, W, 3] or [H, W, 1]; only `save_image`,
`save_gif`, `scatter_gif` and `export` touch the disk, and they replace a file whole or not at all.
"""

from diffax.plotting.audio import audio_grid
from diffax.plotting.curves import line_chart, loss_curve
from diffax.plotting.drawn import DRAWN, drawn
from diffax.plotting.files import png, save_gif, save_image
from diffax.plotting.images import evenly_spaced, image_grid, side_by_side, strip
from diffax.plotting.output import check_output, export, needs_trajectory
from diffax.plotting.series import series_grid
from diffax.plotting.vectors import limits, scatter, scatter_gif, scatter_strip

__all__ = [
    "DRAWN",
    "audio_grid",
    "check_output",
    "drawn",
    "evenly_spaced",
    "export",
    "image_grid",
    "limits",
    "line_chart",
    "loss_curve",
    "needs_trajectory",
    "png",
    "save_gif",
    "save_image",
    "scatter",
    "scatter_gif",
    "scatter_strip",
    "series_grid",
    "side_by_side",
    "strip",
]
