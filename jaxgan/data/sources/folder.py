"""A folder of pictures, or a zip archive of one, as a data set of images."""

import bz2
import collections
import functools
import io
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxgan.data.cache import fingerprint
from jaxgan.data.errors import BadImage, DataError
from jaxgan.data.sources.pictures import suffixes
from jaxgan.data.sources.source import MAX_PIXELS, decode
from jaxgan.printable import listed, printable, said_by

__all__ = ["FolderSource", "Pictures", "folder", "left_out", "pictures_in"]

# Folders and files, in lower case, that systems and programs put beside one's own, and that no picture or class is.
MACHINES = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information"),
    *("__pycache__", "network trash folder", "temporary items", "@recycle", "@recently-snapshot", "@sharebin"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
}
VISITS = 1000  # of one folder, through links
MOST_DICTIONARY = 64 << 20  # bytes, of LZMA's; 7-Zip takes as many at its highest setting
UNTIL = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # methods of which zipfile unpacks no more than it is asked for


@dataclass(frozen=True)
class FolderSource:
    """The pictures `files` (paths below `root`) of a folder, or of a zip archive that was last changed at `changed`.
    left_out: in words, what else there is, and is no picture by its name."""

    name: str
    root: Path
    files: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    changed: int = 0
    left_out: str = ""

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:
        if not self.changed:
            return decode(self.root / self.files[i], self.title(i))
        try:
            content = _Archive.opened(self.root, self.changed).read(self.files[i])
        except Exception as error:  # damaged or encrypted; what unpacks for zipfile has errors of its own
            raise BadImage(f"{self.title(i)} can't be read ({said_by(error)})") from error
        return decode(content, self.title(i))

    def identity(self) -> int:
        """Returns a checksum of the pictures' names and sizes. DataError where they can't be looked at any more."""
        try:
            if self.changed:
                members = _Archive.opened(self.root, self.changed).members
                sizes = [members[file].CRC for file in self.files]
            else:
                sizes = [(self.root / file).stat().st_size for file in self.files]
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.root} has changed since it was opened ({error}); start again") from error
        return zlib.crc32(repr((self.files, sizes)).encode())

    def fingerprint(self) -> str | None:
        """Returns a text that changes with any change of the files, on this machine; None where that isn't known."""
        whole = fingerprint([self.root] if self.changed else map(self.root.joinpath, self.files))
        if whole is None or (self.changed and _changed(self.root) != self.changed):  # what is open is another archive
            return None
        return f"{whole} {self.files}"

    def title(self, i: int) -> str:
        return printable(self.root / self.files[i])


class _Archive:
    """An open zip archive and its files, by their paths with / between folders. DataError where one of them leaves the
    archive's folder, or is too large; nothing is ever unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, zipfile.ZipFile(path)
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.folders: list[str] = []
        for info in self.file.infolist():
            name = info.filename.replace("\\", "/")  # some Windows programs write that
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:/", name):
                raise DataError(
                    f"{path} has a member that leaves its folder, {_quoted(info.filename)}; don't use this archive"
                )
            inside = "/".join(parts)
            if name.endswith("/") or not parts:
                self.folders.append(inside)
                continue
            # A picture has no more bytes than this, and can't be compressed that much again.
            most = min(4 * MAX_PIXELS, max(64 * 2**20, 200 * info.compress_size))
            if info.file_size > most and PurePosixPath(inside).suffix.lower() in suffixes():
                raise DataError(
                    f"{path} has a member that unpacks from {info.compress_size:,} to {info.file_size:,} bytes, "
                    f"{_quoted(info.filename)}; at most {most:,} are taken: don't use this archive"
                )
            self.members[inside] = info  # of several, the last, which unpacking would leave there

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def opened(path: Path, changed: int) -> "_Archive":
        """Opens an archive once in a process, as long as it is unchanged: workers read thousands of pictures from
        it."""
        return _Archive(path)

    def read(self, name: str) -> bytes:
        """Returns a file's content. It unpacks no more than the directory says that there is, whatever is there."""
        info = self.members[name]
        if info.flag_bits & 1:
            raise ValueError("it is encrypted; pack the pictures without a password")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError("it is a link, and those in an archive are not followed; put the picture in its place")
        if info.compress_type in UNTIL:
            with self.file.open(info) as member:
                return member.read(info.file_size)
        content = _unpacked(info, self._packed(info))
        if zlib.crc32(content) != info.CRC:
            raise ValueError("its checksum is another than the archive says")
        return content

    def _packed(self, info: zipfile.ZipInfo) -> bytes:
        """Returns a file's content as it is stored."""
        with self.path.open("rb") as file:
            file.seek(info.header_offset + 26)
            file.seek(sum(struct.unpack("<HH", file.read(4))), io.SEEK_CUR)  # name and extra field
            return file.read(info.compress_size)


def _unpacked(info: zipfile.ZipInfo, packed: bytes) -> bytes:
    """Unpacks bzip2 and LZMA, of which zipfile would unpack all that is there. ValueError for other methods."""
    if info.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, info.file_size)
    if info.compress_type != zipfile.ZIP_LZMA:
        raise ValueError(f"it is compressed by a method that isn't known, {info.compress_type}")
    properties, room = packed[4], int.from_bytes(packed[5:9], "little")  # after a version and a length
    if room > MOST_DICTIONARY:  # it is taken at once
        raise ValueError(f"unpacking it takes {room:,} bytes of memory, more than {MOST_DICTIONARY:,}")
    rest, contexts = divmod(properties, 9)
    how = {"id": lzma.FILTER_LZMA1, "dict_size": room, "lc": contexts, "lp": rest % 5, "pb": rest // 5}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[how]).decompress(packed[9:], info.file_size)


def _quoted(name: str) -> str:
    return f"'{name[:200]}'"


def _changed(path: Path) -> int:
    """Returns when a file last changed, in nanoseconds of the system's clock."""
    return path.stat().st_ctime_ns


def _members(path: Path) -> tuple[list[str], list[str]]:
    """Returns the files in a zip archive, and the folders that it names."""
    try:
        archive = _Archive.opened(path, _changed(path))
    except DataError:
        raise
    except Exception as error:  # zipfile has no error in common for what is damaged
        raise DataError(f"{path} is neither a folder nor a zip archive that can be read ({said_by(error)})") from error
    return list(archive.members), archive.folders


def _files(top: Path) -> tuple[list[str], list[str]]:
    """Returns the paths below a folder of the files and of the folders in it. It follows links, but not one that leads
    back to a folder that contains it, and none into what no class is. OSError where a folder can't be read, DataError
    for links in circles."""
    files, folders, visits = list[str](), list[str](), collections.Counter[tuple[int, int]]()
    waiting: list[tuple[str, tuple[int, int], tuple[tuple[int, int], ...]]] = [("", _place(top.stat()), ())]
    while waiting:
        below, place, above = waiting.pop()
        visits[place] += 1
        if visits[place] > VISITS:
            raise DataError(f"{top}{below} is reached through links in more than {VISITS} ways; remove some of them")
        if below:
            folders.append(below[1:])
        with os.scandir(f"{top}{below}") as entries:
            for entry in entries:
                if _leads_to(entry, folder=False):
                    files.append(f"{below}/{entry.name}"[1:])
                elif _leads_to(entry, folder=True) and not _is_of_a_system(entry.name):
                    inside = _place(entry.stat())
                    if inside not in (*above, place):
                        waiting.append((f"{below}/{entry.name}", inside, (*above, place)))
    return files, folders


def _place(about: os.stat_result) -> tuple[int, int]:
    """Returns what a folder has in common with itself, whatever way leads to it."""
    return about.st_dev, about.st_ino


def _leads_to(entry: os.DirEntry[str], *, folder: bool) -> bool:
    """Says whether an entry is, or links to, a folder or a file; neither for a link to itself."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:
        return False


def _is_of_a_system(name: str) -> bool:
    """Says whether a file or folder is hidden, or one that systems and programs make by themselves."""
    return name.startswith((".", "__MACOSX")) or name.lower() in MACHINES


class Pictures(NamedTuple):
    """What is in a folder, or in a zip archive that was last changed at `changed`: the paths below it of pictures, in
    the order of their names, and of all files and folders of one's own; how many files are no pictures, by suffix."""

    pictures: list[PurePosixPath]
    ones_own: list[PurePosixPath]
    folders: list[str]
    others: collections.Counter[str]
    changed: int


def pictures_in(path: Path, kind: str = "folder") -> Pictures:
    """Finds the pictures in a folder or zip archive. Hidden files, those that systems make by themselves (such as
    thumbnails), and files without the suffix of a picture, are left out. DataError, which calls the set `kind:path`,
    where there is no picture."""
    changed = 0
    try:
        if path.is_dir():
            found, folders = _files(path)
        elif path.is_file():
            changed, (found, folders) = _changed(path), _members(path)
        elif path.exists():
            raise DataError(f"{path} is neither a folder nor a zip archive that can be read (it is no regular file)")
        else:
            raise DataError(f"{kind}:{path} is not there; give the path of a folder of pictures")
    except OSError as error:
        raise DataError(f"{kind}:{path} can't be read ({str(error)[:500]})") from error
    ones_own = [file for file in map(PurePosixPath, found) if not any(map(_is_of_a_system, file.parts))]
    pictures = sorted(file for file in ones_own if file.suffix.lower() in suffixes())
    others = collections.Counter(file.suffix.lower() for file in ones_own if file.suffix.lower() not in suffixes())
    if not pictures:
        there = f": {_counted(others)}" if others else ""
        raise DataError(
            f"{path} holds no pictures ({len(found)} other files){there}; known are {', '.join(suffixes())}"
        )
    return Pictures(pictures, ones_own, folders, others, changed)


def folder(path: Path) -> FolderSource:
    """Opens the pictures in a folder or zip archive, in the order of their names. The subfolders are the classes,
    sorted by name; pictures may be at any depth below them. What `pictures_in` leaves out is counted in `left_out`, as
    far as it is one's own.

    DataError where there is no picture, or where some are in subfolders and some beside them."""
    pictures, ones_own, folders, others, changed = pictures_in(path)
    # An archive of a folder usually has that folder as its only top.
    tops = {file.parts[0] for file in pictures}
    wrapped = bool(changed) and len(tops) == 1 and all(len(file.parts) > 1 for file in pictures)
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
    every = [*folders, *(str(file.parent) for file in ones_own)]
    tops_of_all = {parts[wrapped] for parts in (each.split("/", 2) for each in every) if len(parts) > wrapped}
    empty = tops_of_all - set(names) - {"."}
    return FolderSource(
        f"folder:{printable(path.absolute().name)}",
        path.absolute(),
        tuple(map(str, pictures)),
        labels,
        tuple(map(printable, names)),
        changed,
        left_out(others, [name for name in empty if names and not _is_of_a_system(name)]),
    )


SHOWN = 10  # suffixes or folders at most that are named


def _counted(others: collections.Counter[str]) -> str:
    each = [f"{count:,} {suffix[:20] or 'without a suffix'}" for suffix, count in others.most_common(SHOWN)]
    return ", ".join(each) + (f" and {len(others) - SHOWN} other suffixes" if len(others) > SHOWN else "")


def left_out(others: collections.Counter[str], empty: Iterable[str] = ()) -> str:
    """Describes the files without the suffix of a picture, and the subfolders without any picture; empty where there
    are none."""
    parts = [f"{others.total():,} files that are no pictures by their suffix: {_counted(others)}"] if others else []
    if folders := sorted(empty):
        parts.append(f"folders without pictures, which are no classes: {listed(folders, SHOWN)}")
    return printable("; ".join(parts))
