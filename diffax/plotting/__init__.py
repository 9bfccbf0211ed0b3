"""Pictures a person looks at: grids, strips, animations, clouds of points, curves.

Every function turns numbers into a picture, uint8 [H, W, 3] or [H, W, 1]; only `save_image`,
`save_gif`, `points_gif` and `export` touch the disk, and they replace a file whole or not at all.
"""

from diffax.plotting.curves import line_chart, loss_curve
from diffax.plotting.export import check_output, export, needs_trajectory
from diffax.plotting.files import save_gif, save_image
from diffax.plotting.images import image_grid, strip, to_uint8
from diffax.plotting.points import limits, points_gif, points_strip, scatter

__all__ = [
    "check_output",
    "export",
    "image_grid",
    "limits",
    "line_chart",
    "loss_curve",
    "needs_trajectory",
    "points_gif",
    "points_strip",
    "save_gif",
    "save_image",
    "scatter",
    "strip",
    "to_uint8",
]
