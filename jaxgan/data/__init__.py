"""Where images come from, and in which order. Host side: it knows nothing of networks and steps."""

from jaxgan.data.images import DataError, ImageSet, load, mnist_or_digits, pad_to
from jaxgan.data.order import batch_indices, indices

__all__ = ["DataError", "ImageSet", "batch_indices", "indices", "load", "mnist_or_digits", "pad_to"]
