"""Tables of numbers in text files, as data sets of vectors."""

import csv
import math
from pathlib import Path

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.sets import LABEL, DataSet, from_arrays

__all__ = ["table"]


def table(path: Path) -> DataSet:
    """Reads the rows of a .csv file, with commas between the columns, as vectors `[N, D]`. The first row holds the
    names of the columns, unless all of its cells are numbers. A column called `label` holds the classes, whole numbers
    from 0 up.

    DataError for a file that can't be read, for rows of unequal length, and for text, NaN and infinity; it names the
    line and column."""
    rows = _rows(path)
    names = [cell.strip() for cell in rows.pop(0)[1]] if rows and not all(map(_is_number, rows[0][1])) else []
    if not rows:
        raise DataError(f"{path} holds no rows of numbers")
    width = len(names) or len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise DataError(f"{path}: line {line} has {len(row)} columns, and the lines before have {width}")
    try:
        numbers = np.array([row for _, row in rows], np.float64)
    except ValueError:
        raise _fault(path, rows, names) from None
    with np.errstate(over="ignore"):
        if not np.isfinite(numbers.astype(np.float32)).all():
            raise _fault(path, rows, names)
    if LABEL not in names:
        return from_arrays(f"csv:{path.name}", vectors=numbers, columns=names)
    place = names.index(LABEL)
    labels, rest = numbers[:, place], np.delete(numbers, place, 1)
    whole = np.flatnonzero((labels != np.rint(labels)) | (np.abs(labels) > 2**31))
    if len(whole) or not rest.shape[1]:
        found = f"line {rows[whole[0]][0]} has label {labels[whole[0]]:g}" if len(whole) else "no column beside label"
        raise DataError(f"{path}: {found}; whole numbers of classes from 0 up are expected, beside other columns")
    names = names[:place] + names[place + 1 :]
    return from_arrays(f"csv:{path.name}", vectors=rest, columns=names, labels=labels.astype(np.int64))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Returns the rows that aren't empty, each with its line number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise DataError(f"csv:{path} is not there; give the path of a .csv file of numbers") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read as a .csv file ({error})") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _fault(path: Path, rows: list[tuple[int, list[str]]], names: list[str]) -> DataError:
    """Describes the first cell that holds no finite float32 number."""
    most = float(np.finfo(np.float32).max)
    for line, row in rows:
        for i, cell in enumerate(row):
            if not _is_number(cell) or not math.isfinite(float(cell)) or abs(float(cell)) > most:
                column = f"column {names[i]!r}" if names else f"column {i + 1}"
                return DataError(
                    f"{path}: line {line}, {column} holds {cell.strip()!r}; finite numbers are expected, with commas "
                    "between columns"
                )
    return DataError(f"{path} can't be read as numbers")
