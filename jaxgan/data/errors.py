"""What is wrong with a data set, or with an image of it, in one line."""

__all__ = ["BadImage", "DataError"]


class DataError(Exception):
    """A data set that cannot be had or used; the message says which, why and what to do."""


class BadImage(DataError):
    """One image of a set that cannot be used; the message names it."""
