"""Sources that worker processes import; a module of its own, so that they needn't import the tests and jax with it."""

import os
import signal
import time

import numpy as np

from jaxgan.data import stream


def killed_after(share):
    """Returns a `share` that kills its process as soon as it has made an array."""

    def last(owner, array):
        share(owner, array)
        os.kill(os.getpid(), signal.SIGKILL)

    return last


class Numbered:
    """Image i is filled with i and has label i % 3. `seconds` pass before each; image `wrong` fails in a `way`."""

    name, class_names = "numbered", ("a", "b", "c")

    def __init__(self, count=20, seconds=0.0, wrong=None, way=None):
        self.count, self.seconds, self.wrong, self.way = count, seconds, wrong, way
        self.labels = np.arange(count, dtype=np.int32) % 3

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        time.sleep(self.seconds)
        if i == self.wrong and self.way == "exit":
            os._exit(3)
        if i == self.wrong and self.way == "killed":  # with a batch that nobody knows of yet
            stream.share = killed_after(stream.share)
            return np.full((4, 4, 1), i, np.uint8)
        if i == self.wrong:

            class Local(Exception):
                """Can't be pickled, as a class within a function."""

            raise Local("out of cheese")
        return np.full((4, 4, 1), i, np.uint8)

    def identity(self):
        return self.count

    def title(self, i):
        return f"image {i} of numbered"
