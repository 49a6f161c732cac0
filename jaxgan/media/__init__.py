"""Media: kinds of examples. A medium decodes stored examples for a network and encodes them back, shows and
saves them.
"""

from jaxgan.media.grid import grid, side_by_side
from jaxgan.media.image import Image
from jaxgan.media.medium import Medium
from jaxgan.media.points import Points
from jaxgan.media.vectors import Vectors

__all__ = ["Image", "Medium", "Points", "Vectors", "grid", "side_by_side"]
