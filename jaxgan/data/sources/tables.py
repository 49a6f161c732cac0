"""Tables of numbers in text files, as data sets of vectors."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.sets import LABEL, DataSet, from_arrays
from jaxgan.printable import printable

__all__ = ["table"]

LONGEST_LINE = 1 << 24  # characters; of a million columns there are fewer


def table(path: Path) -> DataSet:
    """Reads the rows of a .csv file, with commas between the columns, as vectors `[N, D]`. The first row holds the
    names of the columns, unless all of its cells are numbers. A column called `label` holds the classes, whole numbers
    from 0 up.

    DataError for a file that can't be read, for rows of unequal length, and for text, NaN and infinity; it names the
    line and column."""
    names, lines, rows = _read(path)
    if not lines:
        raise DataError(f"{path} holds no rows of numbers")
    numbers = np.stack(rows)
    if LABEL not in names:
        return from_arrays(f"csv:{path.name}", vectors=numbers, columns=names)
    place = names.index(LABEL)
    labels, rest = numbers[:, place], np.delete(numbers, place, 1)
    whole = np.flatnonzero((labels != np.rint(labels)) | (np.abs(labels) > 2**31))
    if len(whole) or not rest.shape[1]:
        found = f"line {lines[whole[0]]} has label {labels[whole[0]]:g}" if len(whole) else "no column beside label"
        raise DataError(f"{path}: {found}; whole numbers of classes from 0 up are expected, beside other columns")
    names = names[:place] + names[place + 1 :]
    return from_arrays(f"csv:{path.name}", vectors=rest, columns=names, labels=labels.astype(np.int64))


def _read(path: Path) -> tuple[list[str], list[int], list[np.ndarray]]:
    """Returns the names of the columns, if there are any, and of each row that isn't empty the number of its line and
    its numbers, float64 `[D]`."""
    names, lines, numbers = list[str](), list[int](), list[np.ndarray]()
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} can't be read as a .csv file (it is a folder, or no regular file)")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(_short_lines(file, path), strict=True)
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if not names and not lines and not all(map(_is_number, row)):
                    names = [printable(cell.strip()) for cell in row]
                    continue
                width = len(names) or len(numbers[0] if numbers else row)
                if len(row) != width:
                    raise DataError(
                        f"{path}: line {reader.line_num} has {len(row)} columns, and the lines before have {width}"
                    )
                lines.append(reader.line_num)
                numbers.append(_numbers(path, reader.line_num, row, names))
    except FileNotFoundError:
        raise DataError(f"csv:{path} is not there; give the path of a .csv file of numbers") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} can't be read as a .csv file (it is no UTF-8); save it as UTF-8") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} can't be read as a .csv file ({error})") from error
    return names, lines, numbers


def _short_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Returns the lines of a file. DataError for one that is too long, of whose cells no memory may have room."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise DataError(f"{path} has a line of more than {LONGEST_LINE:,} characters; it isn't a table of numbers")
        yield line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # 1_000 is a number in Python's source code alone


def _numbers(path: Path, line: int, row: list[str], names: list[str]) -> np.ndarray:
    """Returns the numbers of a row, float64 `[D]`. DataError for a cell that holds no finite float32 number."""
    most = float(np.finfo(np.float32).max)
    try:
        found = np.array([float(cell) for cell in row])
    except ValueError:
        found = np.full(len(row), np.nan)
    if np.isnan(found).any() or "_" in "".join(row):
        found = np.array([float(cell) if _is_number(cell) else np.nan for cell in row])
    if len(wrong := np.flatnonzero(~(np.abs(found) <= most))):
        i = int(wrong[0])
        column = f"column '{names[i][:80]}'" if names else f"column {i + 1}"
        raise DataError(
            f"{path}: line {line}, {column} holds '{printable(row[i].strip()[:80])}'; finite numbers are expected, "
            "with commas between columns"
        )
    return found
