"""Errors of data sets and of single images; each message is one line."""

__all__ = ["BadImage", "DataError"]


class DataError(Exception):
    """A data set that can't be found, read or used. The message says which one, why, and what to do."""


class BadImage(DataError):
    """An image of a set that can't be used; the message names it."""
