"""Reads a run's record, `options.json`, which may be a file of somebody else's: nothing in it is taken for granted."""

import json
from pathlib import Path
from typing import Any

from jaxgan.files import read_at_most
from jaxgan.training.options.fields import as_type
from jaxgan.training.options.options import as_named_now

__all__ = ["read_record"]

LARGEST = 64 * 2**20  # bytes; a table's record has numbers and a name for each column
PARTS = {
    "experiment": str,
    "options": dict[str, Any],
    "data": dict[str, Any],
    "frozen": dict[str, str],
    "sessions": list[dict[str, Any]],
}
DEFAULTS: dict[str, Any] = {"data": {}, "frozen": {}, "sessions": []}


def read_record(path: Path) -> dict[str, Any]:
    """Reads `experiment`, the `options` by today's names, `data`, the digests of the `frozen` networks by name, and
    what the run's `sessions` were, the first one first, see `jaxgan.training.run.provenance`. FileNotFoundError or
    NotADirectoryError where there is no such file; ValueError, whose text is for users, where it can't be read or is no
    record."""
    try:
        record = json.loads(read_at_most(path, LARGEST).decode(), object_pairs_hook=_table, parse_int=_integer)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ValueError(error.strerror or "it can't be read") from None
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} in line {error.lineno}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply, or too large") from None
    if not isinstance(record, dict):
        raise ValueError("it is no table of names and values")
    found = {}
    for name, hint in PARTS.items():
        try:
            found[name] = as_type(record.get(name, DEFAULTS.get(name)), hint)
        except TypeError as error:
            raise ValueError(f'its "{name}" must be {error}') from None
    if not found["experiment"]:
        raise ValueError('its "experiment" is empty')
    return {**found, "options": as_named_now(found["options"])}


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("it has the same name twice")
    return table


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"it has an integer of {len(digits)} digits")
    return int(digits)
