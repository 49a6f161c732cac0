"""Files as a disk may give them back: with bits and bytes that have changed."""

import numpy as np


def with_changes(content: bytes, count: int, random: np.random.Generator) -> bytes:
    """Changes a bit, or all of a byte, at `count` places."""
    changed = bytearray(content)
    for place in random.integers(0, len(changed), count):
        changed[place] = changed[place] ^ (1 << random.integers(8)) if random.integers(2) else random.integers(256)
    return bytes(changed)
