"""Where examples come from, and in which order. Host side: it knows nothing of networks and steps."""

from jaxgan.data.images import DataError, Source
from jaxgan.data.order import batch_indices, indices
from jaxgan.data.prepare import Preparation, choose, in_memory
from jaxgan.data.sets import DataSet, from_arrays
from jaxgan.data.sources import mnist_or_digits, open_source

__all__ = [
    "DataError",
    "DataSet",
    "Preparation",
    "Source",
    "batch_indices",
    "choose",
    "from_arrays",
    "in_memory",
    "indices",
    "mnist_or_digits",
    "open_source",
]
