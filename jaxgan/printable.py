"""Text of others' making, such as names of files and classes, as a terminal may show it."""

__all__ = ["printable"]


def printable(text: object) -> str:
    """Returns `str(text)` with control characters, and bytes that are no UTF-8, written out as `\\x1b`."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in str(text)
    )
