"""A folder of pictures, or a zip archive of one, as a data set of images."""

import functools
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from jaxgan.data.cache import fingerprint
from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.sources.source import MAX_PIXELS, decode

__all__ = ["FolderSource", "folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class FolderSource:
    """The pictures `files` (paths below `root`) of a folder, or of a zip archive that was last changed at `changed`."""

    name: str
    root: Path
    files: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    changed: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:
        if self.root.is_dir():
            return decode(self.root / self.files[i], self.title(i))
        try:
            content = _archive(self.root, self.changed).read(self.files[i])
        except Exception as error:  # damaged or encrypted; what unpacks for zipfile has errors of its own
            raise BadImage(f"{self.title(i)} can't be read ({error})") from error
        return decode(content, self.title(i))

    def identity(self) -> int:
        """Returns a checksum of the pictures' names and sizes."""
        if self.root.is_dir():
            sizes = [(self.root / file).stat().st_size for file in self.files]
        else:
            archive = _archive(self.root, self.changed)
            sizes = [archive.getinfo(file).CRC for file in self.files]
        return zlib.crc32(repr((self.files, sizes)).encode())

    def fingerprint(self) -> str | None:
        """Returns a text that changes with any change of the files, on this machine; None where that isn't known."""
        whole = fingerprint([self.root] if self.changed else map(self.root.joinpath, self.files))
        if whole is None or (self.changed and _changed(self.root) != self.changed):  # what is open is another archive
            return None
        return f"{whole} {self.files}"

    def title(self, i: int) -> str:
        return _printable(str(self.root / self.files[i]))


def _printable(text: str) -> str:
    """Returns a text in which bytes that aren't UTF-8, which neither a terminal nor JSON takes, are escaped."""
    return os.fsencode(text).decode(errors="backslashreplace")


@functools.lru_cache(maxsize=4)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """Opens an archive once in a process, as long as it is unchanged: workers read thousands of pictures from it."""
    return zipfile.ZipFile(path)


def _changed(path: Path) -> int:
    """Returns when a file last changed, in nanoseconds of the system's clock."""
    return path.stat().st_ctime_ns


def _members(path: Path) -> list[str]:
    """Returns the files in a zip archive. Nothing is ever unpacked to disk; still, an archive whose members point
    outside of it, or are too large, is refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is neither a folder nor a zip archive that can be read ({error})") from error
    for info in infos:
        inside = PurePosixPath(info.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"{path} has a member that leaves its folder, {info.filename!r}; don't use this archive")
        # A picture has no more bytes than this, and can't be compressed that much again.
        most = min(4 * MAX_PIXELS, max(64 * 2**20, 200 * info.compress_size))
        if inside.suffix.lower() in SUFFIXES and info.file_size > most:
            raise DataError(
                f"{path} has a member that unpacks from {info.compress_size:,} to {info.file_size:,} bytes, "
                f"{info.filename!r}; at most {most:,} are taken: don't use this archive"
            )
    return [info.filename for info in infos]


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Returns the files below a folder. It follows links, but not one that leads back to a folder that contains it."""
    real = folder.resolve()
    if real in above:
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, (*above, real))
        elif entry.is_file():
            yield entry


def folder(path: Path) -> FolderSource:
    """Opens the pictures in a folder or zip archive, in the order of their names. The subfolders are the classes,
    sorted by name; pictures may be at any depth below them. Hidden files, and files without the suffix of a picture,
    are left out.

    DataError where there is no picture, or where some are in subfolders and some beside them."""
    changed = 0
    try:
        if path.is_dir():
            found = [file.relative_to(path).as_posix() for file in _files(path)]
        elif path.exists():
            changed, found = _changed(path), _members(path)
        else:
            raise DataError(f"folder:{path} is not there; give the path of a folder of pictures")
    except OSError as error:
        raise DataError(f"folder:{path} can't be read ({error})") from error
    pictures = [PurePosixPath(file) for file in found if PurePosixPath(file).suffix.lower() in SUFFIXES]
    pictures = sorted(file for file in pictures if not any(part.startswith((".", "__MACOSX")) for part in file.parts))
    if not pictures:
        raise DataError(f"{path} holds no pictures ({len(found)} other files); known are {', '.join(SUFFIXES)}")
    # An archive of a folder usually has that folder as its only top.
    tops = {file.parts[0] for file in pictures}
    wrapped = not path.is_dir() and len(tops) == 1 and all(len(file.parts) > 1 for file in pictures)
    groups = [file.parts[wrapped:-1] for file in pictures]
    beside = [str(file) for file, group in zip(pictures, groups, strict=True) if not group]
    if beside and len(beside) < len(pictures):
        raise DataError(
            f"{path} has {len(beside)} pictures beside subfolders with {len(pictures) - len(beside)} others "
            f"({beside[0]}); subfolders are classes: put all pictures into subfolders, or none"
        )
    names = [] if beside else sorted({group[0] for group in groups})
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.array([numbers[group[0]] if group else 0 for group in groups], np.int32)
    root, files = path.absolute(), tuple(map(str, pictures))
    return FolderSource(f"folder:{_printable(root.name)}", root, files, labels, tuple(map(_printable, names)), changed)
