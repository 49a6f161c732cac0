"""Text of others' making, such as names of files and classes, as a terminal may show it."""

from collections.abc import Mapping

__all__ = ["printable", "shortened"]

LONGEST = 100  # characters of a value that an error shows


def printable(text: object) -> str:
    """Returns `str(text)` with control characters, and bytes that are no UTF-8, written out as `\\x1b`."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in str(text)
    )


def shortened(value: object) -> str:
    """Returns a value as an error shows it, in one line that is not too long."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        if any(isinstance(each, (list, tuple, Mapping)) for each in value):
            return "a list of lists or tables"
        text = ",".join(map(shortened, value[:LONGEST]))
    elif value is None or isinstance(value, bool):
        text = {None: "none", True: "true", False: "false"}[value]
    elif isinstance(value, int) and not -(2**64) < value < 2**64:
        text = "one of more bits"
    else:
        text = printable(str(value)[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
