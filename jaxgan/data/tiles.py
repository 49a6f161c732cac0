"""Tiles: pictures of any size, cut into parts of one size at full resolution."""

import threading
import zlib
from dataclasses import dataclass

import numpy as np

from jaxgan.data.cache import Expected, cached
from jaxgan.data.errors import BadImage
from jaxgan.data.sources.source import Source
from jaxgan.data.transform import follows_from, in_threads

__all__ = ["TileSource", "sizes_of", "tiles_of"]


@dataclass(frozen=True)
class TileSource:
    """The tiles of `shape`, height and width, of pictures: tile i is of picture `numbers[i]`, and its upper left corner
    is at row and column `corners[i]`, int `[N, 2]`."""

    pictures: Source
    shape: tuple[int, int]
    numbers: np.ndarray
    corners: np.ndarray

    @property
    def name(self) -> str:
        return self.pictures.name

    @property
    def labels(self) -> np.ndarray:
        return self.pictures.labels[self.numbers]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.pictures.class_names

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> np.ndarray:
        (top, left), (height, width) = self.corners[i], self.shape
        tile = _recent.picture(self.pictures, int(self.numbers[i]))[top : top + height, left : left + width]
        if tile.shape[:2] != self.shape:
            raise BadImage(f"{self.title(i)} has another size than before; start again")
        return tile.copy()  # a part of the picture would keep all of it in memory

    def title(self, i: int) -> str:
        return self.pictures.title(int(self.numbers[i]))

    def identity(self) -> int:
        """Returns a checksum of the pictures' own and of where the tiles are."""
        places = np.column_stack([self.numbers, self.corners]).astype(np.int64)
        return self.pictures.identity() ^ zlib.crc32(places.data, zlib.crc32(repr(self.shape).encode()))

    def fingerprint(self) -> str | None:
        """Returns a text that changes with any change of the pictures' files, on this machine; None where that isn't
        known."""
        of_pictures = getattr(self.pictures, "fingerprint", lambda: None)()
        return of_pictures and f"{of_pictures} {self.identity()} of {self.shape}"


class _Recent(threading.local):
    """A thread's last picture, of which it usually reads the other tiles next."""

    source: Source | None = None
    number = -1
    image: np.ndarray

    def picture(self, source: Source, number: int) -> np.ndarray:
        if self.source is not source or self.number != number:
            self.source = None  # until the picture is read, which may fail
            self.image = source[number]
            self.source, self.number = source, number
        return self.image


_recent = _Recent()


def sizes_of(source: Source, chosen: np.ndarray, *, skip: bool, keep: bool) -> tuple[np.ndarray, list[str]]:
    """Reads the chosen pictures and returns their heights and widths, int `[len(chosen), 2]`, and, with `skip`, what is
    wrong with those that can't be read, whose size is then 0×0; without it, BadImage for the first such. They are
    cached with `keep`, as by `in_memory`."""

    def compute() -> dict[str, np.ndarray]:
        sizes, faults = np.zeros((len(chosen), 2), np.int64), dict[int, str]()

        def measure(positions: np.ndarray) -> None:
            for position in map(int, positions):
                try:
                    sizes[position] = source[int(chosen[position])].shape[:2]
                except BadImage as error:
                    if not skip:
                        raise
                    faults[position] = str(error)

        in_threads(measure, len(chosen), "measuring pictures")
        return {"sizes": sizes, "faults": np.array([faults[position] for position in sorted(faults)], str)}

    expected: Expected = {"sizes": (np.integer, (len(chosen), 2)), "faults": (np.str_, (None,))}
    found = cached("sizes", (*follows_from(source, chosen, keep), skip), expected, compute)
    return found["sizes"], found["faults"].tolist()


def tiles_of(source: Source, chosen: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]) -> TileSource:
    """Cuts each of the chosen pictures, of `sizes` `[len(chosen), 2]`, into as many tiles of `shape` as fit beside each
    other, in the middle of the picture, row by row. Pictures that are smaller have none."""
    numbers, corners = list[np.ndarray](), list[np.ndarray]()
    for number, size in zip(chosen, sizes, strict=True):
        count = size // shape
        first = (size - count * shape) // 2
        grid = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), axis=-1).reshape(-1, 2)
        corners.append(first + grid * shape)
        numbers.append(np.full(len(grid), number))
    return TileSource(source, shape, np.concatenate(numbers), np.concatenate(corners))
