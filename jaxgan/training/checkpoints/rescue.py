"""Checkpoints that Orbax wrote where it took characters of the path for something else: their arrays are there, in a
folder a process, but not the table that joins them."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorstore as ts

__all__ = ["joined"]

PARTS = "ocdbt.process_*"


@contextlib.contextmanager
def joined(file: Path, literal: Path) -> Iterator[Path]:
    """Yields `literal`, a path to the folder `file` of a checkpoint as from `taken_literally`; where the table is
    missing but the processes' parts are there, a temporary folder with links to all of it and the table. Nothing is
    written to `file`. ValueError or OSError where the parts can't be joined."""
    parts = [] if (file / "manifest.ocdbt").exists() else _parts(file)
    if not parts:
        yield literal
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in {each.name: each for each in (*parts[0].parent.iterdir(), *file.iterdir(), *parts)}.values():
            (folder / path.name).symlink_to(path.absolute())
        _join(folder)
        yield folder


def _parts(file: Path) -> list[Path]:
    """Finds the processes' parts of a checkpoint: in its folder or, where TensorStore made slashes of backslashes,
    where they were left while Orbax renamed the rest."""
    if not file.is_dir():
        return []
    step, unfinished = file.parent, ".orbax-checkpoint-tmp"
    elsewhere = Path(str(step.absolute()).replace("\\", "/") + unfinished) / f"{file.name}{unfinished}"
    found = (list(folder.glob(PARTS)) for folder in (file, elsewhere))
    return next((parts for parts in found if parts), [])


def _join(folder: Path) -> None:
    """Writes the table of all that the processes' parts have, as Orbax does at the end of a save."""
    context = ts.Context()  # of one context, TensorStore copies the tables and leaves the arrays where they are
    whole = _open(folder, context)
    transaction = ts.Transaction(atomic=True)
    for part in folder.glob(PARTS):
        _open(part, context).experimental_copy_range_to(whole.with_transaction(transaction)).result()
    transaction.commit_async().result()


def _open(folder: Path, context: ts.Context) -> ts.KvStore:
    return ts.KvStore.open(
        {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}, context=context
    ).result()
