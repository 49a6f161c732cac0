"""A check of the description of a prepared set before TFDS reads it.

TFDS imports whatever module the description names, also from the working directory, reads files wherever its templates
lead, and makes room for as many classes and parts as it announces. The keys are those of TFDS's protocol buffers
(feature.proto, dataset_info.proto), which it takes in two spellings, and of its JSON before version 4.4 (`type`)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgan.data.errors import DataError
from jaxgan.data.sets import MAX_CLASSES
from jaxgan.files import read_at_most

__all__ = ["check_description"]

MOST_BYTES = 64 << 20  # of a description; TFDS's largest has 4 MB
PER_BYTE = 1000  # records that a byte may hold, compressed
OWN = re.compile(r"tensorflow_datasets\.core\.features\.\w+\.[A-Z]\w*", re.ASCII)
NAME = re.compile(r"(?!.*\.\.)[^/\\\x00]*")

Pairs = list[tuple[str, Any]]


def check_description(folder: Path) -> None:
    """Checks `features.json` and `dataset_info.json` of a prepared set. DataError where they name classes that aren't
    TFDS's own or files outside of the folder, or announce more classes, parts or records than there can be; ValueError
    where they can't be read."""
    sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file()]

    def features(pairs: Pairs) -> None:
        keys = {key for key, _ in pairs}
        for key, value in pairs:
            if key in ("pythonClassName", "python_class_name") or (key == "type" and "content" in keys):
                if not isinstance(value, str) or not OWN.fullmatch(value):
                    raise DataError(
                        f"{folder}/features.json names the class {str(value)[:80]!r}, and only those of TFDS's own "
                        "features are read: reading it would import a module of that name; take another data set, or "
                        "remove the folder if you don't know who made it"
                    )
            elif key in ("json", "content") and isinstance(value, str):
                _parsed(value, features)  # JSON within JSON
            elif key in ("numClasses", "num_classes") and int(value) > MAX_CLASSES:
                raise DataError(
                    f"{folder}/features.json announces {int(value):,} classes; at most {MAX_CLASSES:,} are taken"
                )

    def info(pairs: Pairs) -> None:
        for key, value in pairs:
            if key in ("name", "filepathTemplate", "filepath_template") and not NAME.fullmatch(str(value)):
                raise DataError(
                    f"{folder}/dataset_info.json names files outside of its folder, {str(value)[:80]!r}; don't use "
                    "this folder"
                )
            if key in ("shardLengths", "shard_lengths"):
                lengths = [int(length) for length in value]
                if len(lengths) > len(sizes) or min(lengths, default=0) < 0 or sum(lengths) > PER_BYTE * sum(sizes):
                    raise DataError(
                        f"{folder}/dataset_info.json announces {sum(lengths):,} records in {len(lengths):,} files, and "
                        f"there are {sum(sizes):,} bytes in {len(sizes):,}; remove it and prepare the set again"
                    )

    for name, check in (("features.json", features), ("dataset_info.json", info)):
        try:
            content = read_at_most(folder / name, MOST_BYTES)
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from None
        _parsed(content.decode(), check)


def _parsed(text: str, check: Callable[[Pairs], None]) -> None:
    """Calls `check` with the pairs of every object in a JSON text. ValueError for what is none."""
    try:
        json.loads(text, object_pairs_hook=check)
    except (RecursionError, TypeError, OverflowError) as error:  # the latter for a list where a number should be
        raise ValueError(f"its description is damaged ({error})") from None
