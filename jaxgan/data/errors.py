"""Errors of data sets and of single images; each message is one line."""

from jaxgan.printable import printable

__all__ = ["BadImage", "DataError"]


class DataError(Exception):
    """A data set that can't be found, read or used. The message says which one, why, and what to do; control characters
    in it, which names of files and classes may have, are written out."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class BadImage(DataError):
    """An image of a set that can't be used; the message names it."""
