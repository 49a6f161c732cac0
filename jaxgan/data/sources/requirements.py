"""Requirements of reading a data set: a check of the network, and preparation by TFDS, which needs TensorFlow."""

import importlib.util
import socket
import sys
import threading
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
from urllib import request
from urllib.parse import urlsplit

from jaxgan.data.errors import DataError
from jaxgan.printable import said_by

__all__ = [
    "folder_of",
    "has_tensorflow",
    "prepare_with_tensorflow",
    "tensorflow_datasets",
    "unimportable",
    "unreachable",
]

CONNECT_SECONDS = 6.0  # for name and connection: a user without network learns it within ten seconds
# As in pyproject.toml; the second is needed by the first, which doesn't declare it.
TFDS = "'tensorflow-datasets>=4.9.10,<5' 'importlib_resources>=6'"
ADDRESS_SECONDS = 2.0  # each of the addresses that a name has


def folder_of(name: str, root: Path) -> Path:
    """Returns the folder for the original files of a set. They are stored there, and a user may put them
    there by hand.
    """
    return root / "downloads" / "jaxgan" / name


def unreachable(address: str) -> str | None:
    """Returns the reason why nothing can be fetched from an address, within `CONNECT_SECONDS`; None where its host
    answers."""
    if urlsplit(address).scheme not in ("http", "https"):
        return f"{address} is neither http nor https"
    host, port = _first_hop(address)
    outcome: list[str | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=ADDRESS_SECONDS).close()
            outcome.append(None)
        except (OSError, UnicodeError) as error:  # the latter for names that can't be encoded
            outcome.append(f"no network, or none to {host} ({error})")

    # In a thread, because the resolver knows no time limit: where packets vanish it hangs for minutes.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return outcome[0] if outcome else f"no network, or none to {host} (no answer within {CONNECT_SECONDS:g} seconds)"


def _first_hop(address: str) -> tuple[str, int]:
    """Returns the host and port that a request for the address connects to: a proxy's, where the
    environment names one.
    """
    parts = urlsplit(address)
    proxy = request.getproxies().get(parts.scheme)
    if proxy and not request.proxy_bypass(parts.netloc):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def tensorflow_datasets() -> Any:
    """Imports TFDS and returns it. DataError where it, or something that it needs, can't be imported."""
    try:
        import tensorflow_datasets as tfds
    except Exception as error:  # some libraries refuse another's version in ways of their own
        raise unimportable(error) from error
    return tfds


def unimportable(error: Exception) -> DataError:
    """Returns the error that says what can't be imported, and how it is installed. TFDS imports much of what it needs
    only when it needs it."""
    reason = said_by(error)[:500]
    return DataError(
        "tensorflow-datasets, which reads prepared sets and knows where original files are, or something that it "
        f"needs, can't be imported ({reason}): pip install {TFDS}"
    )


def has_tensorflow() -> bool:
    """Returns whether TensorFlow is installed, without importing it."""
    return importlib.util.find_spec("tensorflow") is not None


def prepare_with_tensorflow(name: str, root: Path) -> None:
    """Lets TFDS download a set and prepare it under `root`, in a format that is read without TensorFlow (array_record).

    Original files in `folder_of(name, root)` are used instead of a download. DataError where TensorFlow or the network
    is missing (the latter within ten seconds), and for whatever else stops TFDS.
    """
    if not has_tensorflow():
        raise DataError(f"preparing data set {name!r} needs TensorFlow: pip install 'jaxgan[tfds-prepare]'")
    folder = folder_of(name, root)
    try:
        # It tells of its progress on stdout, which belongs to the caller.
        with redirect_stdout(sys.stderr):
            _prepare(name, root, folder)
    except DataError:
        raise
    except Exception as error:  # TFDS fails in as many ways as there are data sets
        raise DataError(
            f"data set {name!r} can't be prepared in {root}: {said_by(error)[:1000]}; try again, put its "
            f"files into {folder} by hand, name another folder with --data-dir, or take --dataset digits"
        ) from error


def _prepare(name: str, root: Path, folder: Path) -> None:
    tfds = tensorflow_datasets()
    from tensorflow_datasets.core.download import downloader

    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:  # its message lists all that it knows
        raise DataError(f"TFDS {tfds.__version__} knows no data set {name!r}; take another, or digits") from error
    manual = folder if folder.exists() else root / "downloads" / "manual"  # the latter is TFDS's own choice
    infos = builder.url_infos or {}
    missing = [address for address, info in infos.items() if not (manual / str(info.filename)).exists()]
    if missing and (reason := unreachable(missing[0])):  # before the seconds that TensorFlow's import takes
        raise ConnectionError(reason)
    import tensorflow as tf

    with suppress(RuntimeError):  # raised where TensorFlow is in use already
        tf.config.set_visible_devices([], "GPU")  # or it would take all of the accelerator's memory from JAX
    if hasattr(downloader, "MAX_RETRIES"):
        downloader.MAX_RETRIES = 1  # private; its ten retries are minutes of silence
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
