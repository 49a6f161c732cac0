"""Data sets: sources by name, transforms of images, caching, and the order in which examples are read. This is the host
side: it knows nothing of networks and steps."""

from jaxgan.data.errors import DataError
from jaxgan.data.names import mnist_or_digits, open_source
from jaxgan.data.order import batch_indices, indices
from jaxgan.data.sets import DataSet, from_arrays
from jaxgan.data.sources.source import Source
from jaxgan.data.transform import ImageTransform, choose, in_memory

__all__ = [
    "DataError",
    "DataSet",
    "ImageTransform",
    "Source",
    "batch_indices",
    "choose",
    "from_arrays",
    "in_memory",
    "indices",
    "mnist_or_digits",
    "open_source",
]
