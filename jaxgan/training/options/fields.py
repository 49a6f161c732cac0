"""Fields of option classes, whose values are of their types and within their bounds, wherever they come from: a command
line, a program or a run's record."""

import contextlib
import ctypes
import dataclasses
import functools
import itertools
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import numpy as np

from jaxgan.nearest import perhaps
from jaxgan.printable import shortened
from jaxgan.training.errors.usage import UsageError, either, flag, require

__all__ = ["Bounded", "as_type", "bounded", "bounds_of", "check_names", "checked"]

T = TypeVar("T", bound=float | tuple[float, ...] | None)

INT32 = 2**31 - 1  # the largest number of a type in which steps, shapes and batches are counted


class Bounds(NamedTuple):
    """The numbers between two ends, of which each belongs to them or not."""

    at_least: float | None
    above: float | None
    at_most: float | None
    below: float | None
    unit: str

    def hold(self, value: float) -> bool:
        """Tells whether the number lies within them; NaN never does, nor an integer that int32 hasn't, where no end is
        named."""
        return not self._is_too_large(value) and (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def expected(self, value: float) -> str:
        """Returns what is expected instead of a number that doesn't lie within them, as text."""
        return f"{self} and at most {INT32}" if self._is_too_large(value) else str(self)

    def _is_too_large(self, value: float) -> bool:
        return isinstance(value, int) and self.at_most is None and value > INT32

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            words = f"from {self.at_least} to {self.at_most}"
        else:
            ends = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
            parts = [f"{word} {end}" for word, end in ends.items() if end is not None]
            words = " and ".join("finite" if part == f"below {math.inf}" else part for part in parts)
        return f"{words} {self.unit}".rstrip()


def bounded(
    default: T,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> T:
    """Declares a dataclass field with this default whose value must lie within the bounds, in a class that inherits
    `Bounded`: `features: int = bounded(64, at_least=1)`. `below=math.inf` asks for a finite number, `unit` is a word
    for errors, such as "degrees". Integers are at most 2^31 - 1 where nothing else is said. None, and a word, where the
    field's type allows them, always pass; of a tuple each value must lie within them."""
    bounds = Bounds(at_least, above, at_most, below, unit)
    return dataclasses.field(default=default, metadata={Bounds: bounds})


def bounds_of(options_type: type) -> dict[str, Bounds]:
    """Returns the bounds of a dataclass's fields by name. A class that declares a field again with another default
    alone keeps the bounds that it inherits."""
    return {
        field.name: field.metadata[Bounds]
        for base in reversed(options_type.__mro__)
        if dataclasses.is_dataclass(base)
        for field in dataclasses.fields(base)
        if Bounds in field.metadata
    }


class Bounded:
    """A dataclass that inherits this refuses, with a UsageError, values that are not of their fields' types or lie
    outside their bounds. What relates two options is for its own `__post_init__` to check, after that of `super()`."""

    def __post_init__(self) -> None:
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # a subclass is a dataclass
        for name, value in checked(type(self), {name: getattr(self, name) for name in names}).items():
            object.__setattr__(self, name, value)  # which may be frozen
        for name, bounds in bounds_of(type(self)).items():
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, int | float):
                    require(self, name, bounds.hold(each), bounds.expected(each))
                    require(self, name, bounds.hold(as_float32(each)), f"{bounds}, as float32 holds it too")


def as_float32(value: float) -> float:
    """Returns the number as float32 holds it, in which everything is computed; integers as they are."""
    return value if isinstance(value, int) else ctypes.c_float(value).value


def checked(options_type: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values as of the types of the dataclass's fields, see `as_type`; those of other names as they are.
    UsageError for a value of another type."""
    hints, found = _hints(options_type), dict(values)
    for name in hints.keys() & values.keys():
        try:
            found[name] = as_type(values[name], hints[name])
        except TypeError as error:
            raise UsageError(f"--{flag(name)} must be {error}, got {shortened(values[name])}") from None
    return found


def check_names(options_type: type, names: Iterable[str]) -> None:
    """Raises UsageError, with the nearest name that there is, for one that none of the dataclass's fields has."""
    known = {field.name: f"--{flag(field.name)}" for field in dataclasses.fields(options_type)}
    for name in names:
        if name not in known:
            typed = f"--{flag(shortened(name))}"
            raise UsageError(f"there is no option {typed}{perhaps(typed, known.values())}")


def as_type(value: Any, hint: Any) -> Any:
    """Returns a value as a type annotation has it: a sequence as a tuple, a NumPy number as Python's, a path as text or
    the other way round. An integer has 64 bits, and text is what a file's name could be. What is annotated otherwise
    than by these types, literals, tuples, lists, mappings and unions of them is returned as it is. TypeError, whose
    text says what is expected, for a value of another type."""
    if isinstance(value, np.generic):
        value = value.item()
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return as_type(value, arguments[0])
    if origin in (Union, types.UnionType):
        for each in arguments:
            with contextlib.suppress(TypeError):
                return as_type(value, each)
    elif origin is Literal:
        alike = (each for each in arguments if isinstance(value, bool) == isinstance(each, bool))  # True is no 1
        if any(isinstance(value, type(each)) and value == each for each in alike):
            return value
    elif origin in (tuple, list, dict, Mapping):
        with contextlib.suppress(TypeError):  # of a part; what is expected of the whole says more
            return _collection(value, origin, arguments)
    elif hint not in PLAIN:
        return value
    elif PLAIN[hint][1](value):
        return os.fspath(value) if hint is str else Path(value) if hint is Path else value
    raise TypeError(_words(hint))


def _collection(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError
        key, content = arguments
        return {as_type(name, key): as_type(each, content) for name, each in value.items()}
    several = origin is list or Ellipsis in arguments
    if not isinstance(value, (tuple, list)) or not (several or len(arguments) == len(value)):
        raise TypeError
    hints = itertools.repeat(arguments[0]) if several else arguments
    return origin(as_type(each, hint) for each, hint in zip(value, hints, strict=False))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, (str, os.PathLike)) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


PLAIN = {
    type(None): ("none", lambda value: value is None),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("an integer of 64 bits", _is_integer),
    float: ("a number", lambda value: isinstance(value, float) or _is_integer(value)),
    str: ("text", _is_text),
    Path: ("a path", _is_text),
}


def _words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _words(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(each) for each in arguments)
    if origin is Literal:
        return either(arguments)
    if origin in (tuple, list):
        parts = arguments[:1] if origin is list or Ellipsis in arguments else arguments
        return f"a list, {'each ' * (len(parts) < len(arguments) or origin is list)}{', '.join(map(_words, parts))}"
    if origin in (dict, Mapping):
        return "a table" if arguments[1] is Any else f"a table, each {_words(arguments[1])}"
    return PLAIN[hint][0] if hint in PLAIN else f"a {getattr(hint, '__name__', 'value')}"


@functools.cache
def _hints(options_type: type) -> dict[str, Any]:
    """Returns the types of a dataclass's fields by name; none where its annotations name what can't be found."""
    try:
        hints = typing.get_type_hints(options_type, include_extras=True)
    except (NameError, AttributeError):
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(options_type) if field.name in hints}
