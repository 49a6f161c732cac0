"""Streams of small images, and a folder with a bad one."""

import numpy as np
from PIL import Image

from jaxgan.data import ImageTransform
from jaxgan.data.stream import Stream

IMAGES = np.random.default_rng(0).integers(0, 256, (22, 4, 4, 1), np.uint8)


def stream(source, workers=2, transform=None, chosen=None):
    chosen = np.arange(len(source)) if chosen is None else chosen
    return Stream(
        "mine", source, chosen, transform or ImageTransform(4, 1), source.labels[chosen], source.class_names, workers
    )


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).save(path)


def bad_folder(tmp_path, wrong=7):
    """Returns a folder of twenty pictures, one of them cut short, its name, and the first step whose batch
    of 4 has it."""
    for i in range(20):
        save(tmp_path / "set" / f"{i:02}.png", IMAGES[i])
    path = tmp_path / "set" / f"{wrong:02}.png"
    path.write_bytes(path.read_bytes()[:50])
    return path
