"""A folder of pairs of pictures, or a zip archive of one: what a translator is shown, and what it should answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.sources.folder import FolderSource, Pictures, left_out, pictures_in
from jaxgan.printable import listed, printable

__all__ = ["PairSource", "pairs"]

SIDES = (("a", "b"), ("source", "target"), ("input", "target"))  # names of the two folders, in lower case
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
SHOWN = 5  # pictures at most that a message names

Place = tuple[str, ...]  # of a picture: the folders that it is in, and its name


@dataclass(frozen=True)
class PairSource:
    """Pairs of pictures: the fields `image`, which is the main one, and `source`, each a source of images in the same
    order. left_out: in words, what else there is."""

    name: str
    sides: Mapping[str, FolderSource]
    left_out: str = ""
    class_names: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.sides)

    @property
    def labels(self) -> np.ndarray:
        return self.of("image").labels

    def kind(self, name: str) -> str:
        del name
        return "image"

    def of(self, name: str) -> FolderSource:
        """Returns the pictures of one field."""
        return self.sides[name]

    def __len__(self) -> int:
        return len(self.of("image"))

    def __getitem__(self, i: int) -> np.ndarray:
        return self.of("image")[i]

    def title(self, i: int) -> str:
        return self.of("image").title(i)

    def identity(self) -> int:
        """Returns a checksum of the names and sizes of both sides' pictures."""
        return self.of("image").identity() ^ self.of("source").identity()


@dataclass(frozen=True, kw_only=True)
class _Partner(FolderSource):
    """Pictures that have the proportions of their `partners`, to a pixel: otherwise the same crop of both would show
    different things."""

    partners: FolderSource

    def __getitem__(self, i: int) -> np.ndarray:
        image = super().__getitem__(i)
        (height, width), (tall, wide) = image.shape[:2], self.partners[i].shape[:2]
        if abs(height * wide - width * tall) > max(height, width, tall, wide):
            raise BadImage(
                f"{self.title(i)} has {height}×{width} pixels, and its partner {self.partners.title(i)} has "
                f"{tall}×{wide}, which are other proportions; cut both alike"
            )
        return image

    def fingerprint(self) -> str | None:
        both = super().fingerprint(), self.partners.fingerprint()
        return None if None in both else f"{both}"


@dataclass(frozen=True, kw_only=True)
class _Half(FolderSource):
    """The left or the right half of each picture."""

    right: bool = False

    def __getitem__(self, i: int) -> np.ndarray:
        image = super().__getitem__(i)
        half, odd = divmod(image.shape[1], 2)
        if odd:
            raise BadImage(
                f"{self.title(i)} has {image.shape[1]} columns; an even number is expected of a picture of two halves"
            )
        return image[:, half:] if self.right else image[:, :half]

    def fingerprint(self) -> str | None:
        whole = super().fingerprint()
        return whole and f"{whole} {'right' if self.right else 'left'}"


def pairs(path: Path, split: str = "train") -> PairSource:
    """Opens the pairs in a folder or zip archive. They are either pictures of equal names (but for the suffix) in two
    of its folders, `A` and `B`, `source` and `target` or `input` and `target`, of which the first is the `source` and
    the second the `image`; or, where there are no such folders, pictures that hold both beside each other, the left
    half the `source`.

    Folders train, val and test, in or around those, are splits; without a test split, val is it. Pictures without a
    partner are left out, and counted in `left_out`. DataError where there are no pairs, or no such split."""
    found = pictures_in(path, "pairs")
    places, above = _unwrapped([picture.parts for picture in found.pictures])
    chosen = _of_split(path, places, split)
    tops = sorted({place[0] for place in chosen.values() if len(place) > 1})
    ends = _sides(path, tops)
    files = {"/".join((*above, *picture)): place for picture, place in chosen.items()}
    if ends is None:
        whole = vars(_pictures(path, found, list(files)))
        halves: dict[str, FolderSource] = {name: _Half(**whole, right=name == "image") for name in ("image", "source")}
        return PairSource(halves["image"].name, halves, left_out(found.others))
    return _partners(path, found, files, ends)


def _unwrapped(places: Sequence[Place]) -> tuple[list[Place], Place]:
    """Returns the places below the folder that all of them are in, and that folder, unless its name says what it is."""
    above = list[str]()
    known = {name for both in SIDES for name in both} | SPLITS.keys()
    while min(map(len, places)) > 1 and len({place[0] for place in places}) == 1 and places[0][0].lower() not in known:
        above.append(places[0][0])
        places = [place[1:] for place in places]
    return list(places), tuple(above)


def _of_split(path: Path, places: Sequence[Place], split: str) -> dict[Place, Place]:
    """Returns the places that are in a split, and each without the folder that says so."""
    at = {place: next((i for i, part in enumerate(place[:-1][:2]) if part.lower() in SPLITS), None) for place in places}
    others = [place for place, i in at.items() if i is None]
    if len(others) == len(places):
        if split != "train":
            raise DataError(f"pairs:{path} has no {split} split; all of it is the training split, train")
        return {place: place for place in places}
    if others:
        raise DataError(
            f"{path} has {len(others)} pictures beside folders with splits, such as {'/'.join(others[0])}; put all "
            f"pictures into {', '.join(dict.fromkeys(SPLITS.values()))}, or none"
        )
    of = {place: SPLITS[place[i].lower()] for place, i in at.items() if i is not None}
    there = sorted(set(of.values()))
    wanted = "val" if split == "test" and split not in there else split
    if wanted not in there:
        raise DataError(f"pairs:{path} has no {split} split; it has {', '.join(there)}")
    return {place: place[:i] + place[i + 1 :] for place, i in at.items() if i is not None and of[place] == wanted}


def _sides(path: Path, tops: Sequence[str]) -> tuple[str, str] | None:
    """Returns the names of the folders of the sources and of the images; None where there are none."""
    named = {top.lower(): top for top in tops}
    for one, other in SIDES:
        if one in named and other in named:
            return named[one], named[other]
    if alone := [named[name] for both in SIDES for name in both if name in named]:
        known = [f"{one} and {other}" for one, other in (("A", "B"), *SIDES[1:])]
        raise DataError(
            f"pairs:{path} has a folder {alone[0]} and no other to go with it; {', '.join(known[:-1])} or {known[-1]} "
            "are expected, with pictures of equal names"
        )
    return None


def _pictures(path: Path, found: Pictures, files: Sequence[str]) -> FolderSource:
    name, labels = f"pairs:{printable(path.absolute().name)}", np.zeros(len(files), np.int32)
    return FolderSource(name, path.absolute(), tuple(files), labels, (), found.changed)


def _partners(path: Path, found: Pictures, files: Mapping[str, Place], ends: tuple[str, str]) -> PairSource:
    """Pairs the pictures of equal names in the folders `ends`. files: the paths of pictures, and their places."""
    sides = [dict[Place, str](), dict[Place, str]()]
    beside = 0
    for file, place in files.items():
        if len(place) < 2 or place[0] not in ends:
            beside += 1
            continue
        side, key = sides[ends.index(place[0])], (*place[1:-1], Path(place[-1]).stem)
        if key in side:
            raise DataError(f"{path} has two pictures of one name, {side[key]} and {file}; a pair has one on each side")
        side[key] = file
    both = sorted(sides[0].keys() & sides[1].keys())
    alone = sorted(side[key] for side in sides for key in side if key not in sides[0] or key not in sides[1])
    if not both:
        raise DataError(
            f"pairs:{path} has no pairs: no picture in {ends[0]} has the name of one in {ends[1]}; there are "
            f"{listed(alone, SHOWN)}"
        )
    sources, images = (_pictures(path, found, [side[key] for key in both]) for side in sides)
    pair = {"image": _Partner(**vars(images), partners=sources), "source": sources}
    said = [f"{len(alone):,} pictures without a partner: {listed(alone, SHOWN)}"] if alone else []
    said += [f"{beside:,} pictures that are neither in {ends[0]} nor in {ends[1]}"] if beside else []
    said += [others] if (others := left_out(found.others)) else []
    return PairSource(images.name, pair, printable("; ".join(said)))
