"""Text of others' making, such as names of files and classes, as a terminal may show it."""

from collections.abc import Mapping, Sequence

__all__ = ["first_line", "listed", "printable", "said_by", "shortened"]

LONGEST = 100  # characters of a value that an error shows


def printable(text: object) -> str:
    """Returns `str(text)` with control characters, and bytes that are no UTF-8, written out as `\\x1b`."""
    return "".join(each if each.isprintable() else _escaped(each) for each in str(text))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte, as Python has it in names of files
        return f"\\x{ord(character) - 0xDC00:x}"
    return character.encode("unicode_escape").decode()


def listed(names: Sequence[object], most: int, between: str = ", ") -> str:
    """Returns the first of some names as text, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(map(str, names[:most])) + more


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says; its type where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def said_by(error: BaseException) -> str:
    """Returns what an error says, in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


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
