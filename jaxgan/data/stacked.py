"""Stacked-MNIST: three digits as the colour channels of one image, so that a generator's 1,000 modes can be counted.

The task comes from unrolled GANs (Metz et al. 2017, arXiv 1611.02163). The protocol is that of PacGAN's code (Lin et
al. 2018, arXiv 1712.04086): a fixed set of 128,000 stacks of digits from MNIST's training and test images.
"""

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.sets import DataSet, from_arrays
from jaxgan.data.sources.source import Source
from jaxgan.data.transform import ImageTransform, in_memory

__all__ = ["SPLITS", "stacked_mnist"]

SPLITS = {"train": (128_000, 1000), "test": (26_000, 1001)}  # number of stacks, and the seed of their draw
CLASSES = tuple(f"{mode:03d}" for mode in range(1000))
BLOCK = 2048  # stacks that are assembled at a time


def stacked_mnist(training: Source, test: Source, split: str = "train") -> DataSet:
    """Returns stacks of MNIST's digits as uint8 images `[N, 28, 28, 3]`. Labels are 100·c₀ + 10·c₁ + c₂ in [0, 1000),
    where cᵢ is the digit in channel i; class names are "000" to "999".

    `training` and `test` are MNIST's. Each of the 3·N digits is drawn from all 70,000 of them, uniformly, with
    replacement and independently of the others (NumPy's PCG64). The digits are sorted first, so that the stacks are the
    same whether MNIST is read from TFDS's folders or from its original files, which are in another order.

    The `split` "train" has 128,000 stacks, "test" 26,000 others, drawn with another seed from the same 70,000 digits:
    it is a second sample of the same distribution, as large as the sample that is scored, and not made of digits that
    training never sees. DataError for another split, BadImage for an image that isn't 28×28."""
    if split not in SPLITS:
        raise DataError(f"stacked_mnist has splits {', '.join(SPLITS)}, no {split} split")
    digits, labels = _sorted(training, test)
    count, seed = SPLITS[split]
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(len(digits), size=(count, 3))
    images = np.empty((count, 28, 28, 3), np.uint8)
    for start in range(0, count, BLOCK):  # all at once, the set would be in memory twice
        block = slice(start, start + BLOCK)
        images[block] = digits[drawn[block]].transpose(0, 2, 3, 1)
    return from_arrays("stacked_mnist", images, labels[drawn] @ np.array([100, 10, 1]), CLASSES)


def _sorted(*sets: Source) -> tuple[np.ndarray, np.ndarray]:
    """Returns all digits, uint8 `[M, 28, 28]`, and their labels, uint8 `[M]`, in the order of their bytes."""
    grey = ImageTransform(28, 1)
    images = np.concatenate([in_memory(digits, np.arange(len(digits)), grey, keep=True) for digits in sets])
    labels = np.concatenate([digits.labels for digits in sets]).astype(np.uint8)
    rows = np.concatenate([images.reshape(len(images), -1), labels[:, None]], axis=1)
    order = np.argsort(rows.view(f"S{rows.shape[1]}")[:, 0])
    return images[order, :, :, 0], labels[order]
