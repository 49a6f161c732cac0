"""Weights from files: PyTorch's `.pth`, read without PyTorch and without executing anything, or `.npz`.

A `.pth` is a pickle that says where tensors lie (`torch_pickle`), and the tensors' numbers, which are read as views, so
that no declared size takes more memory than the file has bytes.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.npz import read_npz
from jaxgan.evaluation.features.torch_pickle import Storage, Tensor, unpickle

__all__ = ["read_pth", "read_weights"]

# The start of the format before PyTorch 1.6: pickles of these two and of the system, then that of the tensors.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# The errors of Python's zipfile for a damaged file; the last is for unknown versions, methods and flags.
OF_ZIP_FILES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError)
LEAST_UNPACKED, MOST_UNPACKED = 64 << 20, 16  # of a compressed file: bytes at any rate, and times its size


def read_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict by name, as `torch.save` writes it, in both its formats: the zip of PyTorch 1.6
    and the one before. In a checkpoint with other entries, the dictionary `state_dict` is read.

    Arrays are read-only and may be views of one another with strides, as tensors may share a storage. Floats, integers
    and booleans keep their type, bfloat16 becomes float32.

    ValueError for a file that is no `.pth`, is cut short or damaged, or holds anything but tensors (nothing of which is
    executed)."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"cannot read weights from {path}: it is {'a folder' if path.is_dir() else 'not there'}")
    try:
        return _read(path.read_bytes())
    except (ValueError, OSError, *OF_ZIP_FILES) as error:
        raise ValueError(f"cannot read weights from {path}: {str(error) or 'it is cut short'}") from None


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file, or else of a `.pth`, by name. A compressed `.npz` may unpack to 16 times its
    size, and to 64 MiB at any rate: numbers that were trained hardly compress. ValueError for another or a damaged
    file."""
    path = Path(path)
    if path.suffix != ".npz":
        return read_pth(path)
    try:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise ValueError("it holds one array, not arrays by name")
        most = max(LEAST_UNPACKED, MOST_UNPACKED * path.stat().st_size)
        return read_npz(path, most, f"the {most:,} that weights in a file of this size have at most")
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read weights from {path}: {error}") from None


def _read(data: bytes) -> dict[str, np.ndarray]:
    if not data:
        raise ValueError("it is empty")
    if data.startswith(b"PK\x03\x04"):
        return _read_zip(data)
    if data.startswith(b"\x80"):
        return _read_legacy(data)
    raise ValueError(f"torch.save writes no file that begins with {data[:16]!r}")


def _read_zip(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1 or roots[0].count("/") != 1:
            raise ValueError("it is a zip file, but holds no FOLDER/data.pkl as PyTorch's do")
        # torch.save does not compress, so what is declared can't exceed what is there.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save's files are not")
        if sum(entry.file_size for entry in archive.infolist()) > len(data):
            raise ValueError("its entries declare more bytes than the file has")

        def record(name: str) -> bytes:
            if roots[0] + name not in names:
                raise ValueError(f"its entry {name[:80]!r} is missing")
            return archive.read(roots[0] + name)

        if f"{roots[0]}byteorder" in names and record("byteorder") != b"little":
            raise ValueError("it was saved on a big-endian machine; save it again on another")
        return _arrays(unpickle(io.BytesIO(record("data.pkl")), {}), lambda key: record(f"data/{key}"))


def _read_legacy(data: bytes) -> dict[str, np.ndarray]:
    stream, storages = io.BytesIO(data), dict[str, Storage]()
    if unpickle(stream, {}) != MAGIC:
        raise ValueError("it is a pickle, but not one of PyTorch's")
    if unpickle(stream, {}) != PROTOCOL:
        raise ValueError(f"its protocol is not {PROTOCOL}, the only one PyTorch has used")
    system = unpickle(stream, {})
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was saved on a big-endian machine; save it again on another")
    loaded, keys = unpickle(stream, storages), unpickle(stream, {})
    # Then the storages one after the other, each behind its number of elements; no copies are made.
    view, position, found = memoryview(data), stream.tell(), {}
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or int.from_bytes(view[position : position + 8], "little") != storage.length:
            raise ValueError("it is cut short, or its storages are not those that its tensors speak of")
        end = position + 8 + storage.length * _itemsize(storage.dtype)
        found[key], position = view[position + 8 : end], end
    return _arrays(loaded, lambda key: found.get(key, b""))


def _arrays(loaded: Any, bytes_of: Callable[[str], Any]) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict as views of the bytes of their storages."""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError("it holds no dictionary of tensors by name")
    numbers: dict[Storage, np.ndarray] = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"its entry {name if isinstance(name, int) else name[:80]!r} is no tensor")
        if tensor.storage not in numbers:
            numbers[tensor.storage] = _numbers(tensor.storage, bytes_of(tensor.storage.key))
    return {name: _view(name, tensor, numbers[tensor.storage]) for name, tensor in loaded.items()}


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _numbers(storage: Storage, data: Any) -> np.ndarray:
    """Returns a storage as an array `[count]` on the bytes of the file."""
    if len(data) != storage.length * _itemsize(storage.dtype):
        raise ValueError(f"it has {len(data)} bytes where {storage.length} numbers ({storage.dtype}) were declared")
    if storage.dtype != "bfloat16":
        return np.frombuffer(data, storage.dtype)
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def _view(name: str, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    shape, offset = tensor.shape, tensor.offset
    strides = [stride if size > 1 else 0 for size, stride in zip(shape, tensor.strides, strict=True)]
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 in shape and min(shape) >= 0 and max(shape) <= np.iinfo(np.int32).max:
        return np.zeros(shape, numbers.dtype)
    # A stride of 0 repeats numbers: a few bytes could declare any size.
    if min(offset, *shape, *strides, 0) < 0 or max(last + 1, math.prod(shape)) > len(numbers):
        raise ValueError(f"its tensor {name[:80]!r} does not lie within its storage of {len(numbers)} numbers")
    steps = [stride * numbers.itemsize for stride in strides]
    array: np.ndarray = np.ndarray(shape, numbers.dtype, numbers, offset * numbers.itemsize, steps)
    array.flags.writeable = False
    return array
