"""MNIST, Fashion-MNIST and CIFAR-10 from their original files, without TensorFlow.

Addresses, sizes and checksums are those that the installed TFDS registers. A file gets its name only when it is
complete and its checksum is right, so a download that was stopped leaves nothing that looks finished.
"""

import gzip
import hashlib
import io
import math
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.sources.requirements import folder_of, tensorflow_datasets, unimportable, unreachable
from jaxgan.files import atomic_write, remove_leftovers
from jaxgan.terminal import progress_bar

__all__ = ["FETCHABLE", "Remote", "fetched", "is_fetched", "registered"]

IDX: dict[str, tuple[str, ...]] = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "mnist": IDX,
    "fashion_mnist": IDX,
    "cifar10": dict.fromkeys(IDX, ("cifar-10-binary.tar.gz",)),
}
FETCHABLE = tuple(FILES)
MOST_IMAGES = 60_000
RECORD = 1 + 3 * 32 * 32  # CIFAR-10: a label and the pixels, colour by colour
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
BATCH_BYTES = 10_000 * RECORD

ANSWER_SECONDS = 15.0  # the next bytes of a server that is connected
BAR_FROM_BYTES = 1_000_000
CHUNK = 1 << 16
# http and https alone, also where a server redirects: `urlopen` would follow to ftp, and open local files.
HANDLERS = (
    *(request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.UnknownHandler),
    *(request.HTTPRedirectHandler, request.HTTPErrorProcessor, request.HTTPDefaultErrorHandler),
)


class Remote(NamedTuple):
    """A file as TFDS registers it; `size` in bytes, `sha256` in 64 hexadecimal digits."""

    address: str
    filename: str
    size: int
    sha256: str


class _FileError(Exception):
    """A fault of a file or its server, which becomes part of a DataError."""


class _Interrupted(_FileError):
    """A temporary failure, after which a second attempt makes sense."""


def registered(name: str) -> list[Remote]:
    """Returns all original files of a set, training and test, as TFDS registers them. This doesn't need TensorFlow.

    DataError for a set that is not one of `FETCHABLE`.
    """
    if name not in FETCHABLE:
        raise DataError(f"data set {name!r} can't be fetched without TensorFlow; only {', '.join(FETCHABLE)} can")
    try:
        infos = tensorflow_datasets().builder_cls(name).url_infos or {}
    except ImportError as error:
        raise unimportable(error) from error
    return [Remote(url, Path(info.filename or url).name, int(info.size), info.checksum) for url, info in infos.items()]


def _files(name: str, split: str) -> list[Remote]:
    known = {remote.filename: remote for remote in registered(name)}
    if split not in FILES[name]:
        raise DataError(f"data set {name!r} has no {split} split; it has {', '.join(FILES[name])}")
    if missing := [filename for filename in FILES[name][split] if filename not in known]:
        raise DataError(
            f"the installed tensorflow-datasets registers no {' and no '.join(missing)} for data set {name!r}; "
            "install 4.9.10, or take --dataset digits"
        )
    return [known[filename] for filename in FILES[name][split]]


def is_fetched(name: str, root: Path) -> bool:
    """Returns whether all training files are in `folder_of(name, root)` with the right sizes, so that no network is
    needed."""
    files = [(folder_of(name, root) / remote.filename, remote.size) for remote in _files(name, "train")]
    try:
        return all(path.is_file() and path.stat().st_size == size for path, size in files)
    except OSError:  # a folder that may not be entered
        return False


def fetched(name: str, root: Path, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a split, "train" or "test", uint8 `[N, H, W, C]`, and their labels, int32 `[N]` in [0, 10),
    in the order of the files.

    `name` is one of `FETCHABLE`. Files are stored in `folder_of(name, root)`. From then on they are used from there,
    after a check of size and SHA-256; a file that fails the check is fetched again. DataError where a file can't be
    fetched, written or read.
    """
    paths = [_ensured(name, folder_of(name, root), remote) for remote in _files(name, split)]
    with _reading(paths[0]):
        cifar10 = name == "cifar10"
        images, labels = _cifar10(paths[0], BATCHES[split]) if cifar10 else (_idx(paths[0], 28, 28)[..., None], None)
    with _reading(paths[-1]):
        labels = _idx(paths[-1]) if labels is None else labels
        if not 0 < len(images) == len(labels) or labels.max() > 9:
            raise _FileError(f"{len(images)} images have {len(labels)} labels, up to {max(labels, default=0)}")
    return np.array(images, order="C"), labels.astype(np.int32)


def _ensured(name: str, folder: Path, remote: Remote) -> Path:
    path, there = folder / remote.filename, ""
    try:
        if path.exists():
            fault = _fault(path, remote)
            if not fault:
                return path
            there = f"; the one that lies there is another ({fault})"
        if reason := unreachable(remote.address):
            raise _FileError(reason)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        try:
            _download(remote, path)
        except _Interrupted:
            _download(remote, path)
    except (_FileError, OSError) as error:  # the network's own OSErrors are _FileErrors by now: the rest is the disk's
        why = str(error) if isinstance(error, _FileError) else f"the folder can't be used ({error})"
        raise DataError(
            f"{remote.filename} of {name} can't be fetched from {urlsplit(remote.address).hostname} into {folder}: "
            f"{' '.join(why.split())}{there}; try again, put the file into that folder by hand, name another folder "
            "with --data-dir, or take --dataset digits"
        ) from error
    return path


def _fault(path: Path, remote: Remote) -> str:
    """Describes the difference between a file and the registered one; empty where there is none."""
    if (size := path.stat().st_size) != remote.size:
        return f"{size:,} bytes, expected {remote.size:,}"
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if got == remote.sha256 else f"SHA-256 {got}, expected {remote.sha256}"


def _download(remote: Remote, path: Path) -> None:
    with atomic_write(path) as part:
        with part.open("wb") as file:
            _copy(remote, file)
        if fault := _fault(part, remote):
            raise _FileError(f"what came is not the file that TFDS registers ({fault})")


def _copy(remote: Remote, file: BinaryIO) -> None:
    """Writes what the server sends to the file, at most one byte more than the registered size."""
    hidden = remote.size < BAR_FROM_BYTES
    with (
        _open(remote.address) as response,
        progress_bar(remote.size, remote.filename, unit="B", delay=0.0, hidden=hidden) as bar,
    ):
        while left := remote.size + 1 - file.tell():
            try:
                block = response.read1(min(CHUNK, left))
            except (OSError, HTTPException) as error:
                raise _Interrupted(f"the connection broke after {file.tell():,} bytes ({error})") from error
            if not block:
                break
            file.write(block)
            bar.update(len(block))
    if file.tell() < remote.size:
        raise _Interrupted(f"the content ended after {file.tell():,} of {remote.size:,} bytes")
    if file.tell() > remote.size:
        raise _FileError(f"the server sends more than the {remote.size:,} bytes that TFDS registers")


def _open(address: str) -> HTTPResponse:
    opener = request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    try:
        return opener.open(address, timeout=ANSWER_SECONDS)
    except HTTPError as error:
        error.close()
        failure = _Interrupted if error.code >= 500 else _FileError
        raise failure(f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _Interrupted(f"no answer ({getattr(error, 'reason', error)})") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns errors in a file's content into a DataError that names the file."""
    try:
        yield
    except (_FileError, OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} can't be read ({error}); remove it, or take --dataset digits") from error


def _unpacked(path: Path, most: int) -> bytes:
    """Returns the content of a gzipped file. It refuses more than `most` bytes, so that no file can fill the memory."""
    with gzip.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise _FileError(f"refused: it unpacks to more than {most:,} bytes")
    return content


def _idx(path: Path, *item: int) -> np.ndarray:
    """Reads uint8 `[N, *item]` from a gzipped IDX file: the type of the numbers, the number of axes, their lengths, the
    bytes."""
    start = 8 + 4 * len(item)
    content = _unpacked(path, start + MOST_IMAGES * math.prod(item))
    expected = (0, 0, 8, 1 + len(item))
    if len(content) < start or tuple(content[:4]) != expected:
        raise _FileError(f"it begins with {tuple(content[:4])}, expected {expected} and dimensions as in IDX")
    count, *dimensions = struct.unpack(f">{1 + len(item)}I", content[4:start])
    if tuple(dimensions) != item or len(content) - start != count * math.prod(item):
        raise _FileError(f"{len(content) - start:,} bytes are not the {[count, *dimensions]} that it announces")
    return np.frombuffer(content, np.uint8, offset=start).reshape(count, *item)


def _cifar10(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the uint8 images `[N, 32, 32, 3]` and labels `[N]` of the named batches; nothing is unpacked to disk."""
    batches: dict[str, bytes] = {}
    content = _unpacked(path, 6 * BATCH_BYTES + 1_000_000)  # all batches, and a page of text
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            inside = PurePosixPath(member.name)
            if inside.is_absolute() or ".." in inside.parts:
                raise _FileError(f"refused: its member {member.name!r} points out of it")
            if not (member.isfile() or member.isdir()) or member.size > BATCH_BYTES:
                raise _FileError(f"refused: its member {member.name!r} is no file of at most {BATCH_BYTES:,} bytes")
            if inside.name in names and (file := archive.extractfile(member)) is not None:
                batches[inside.name] = file.read()
    for batch in names:
        if not batches.get(batch) or len(batches[batch]) % RECORD:
            raise _FileError(f"its {batch} has {len(batches.get(batch, b''))} bytes, expected records of {RECORD}")
    records = np.frombuffer(b"".join(batches[batch] for batch in names), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
