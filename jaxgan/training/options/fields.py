"""Fields of option classes that say which numbers they take."""

import ctypes
import dataclasses
import math
from typing import NamedTuple, TypeVar

from jaxgan.training.errors.usage import require

__all__ = ["Bounded", "bounded", "bounds_of"]

T = TypeVar("T", bound=float | None)

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
        if isinstance(value, int) and self.at_most is None and value > INT32:
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def expected(self, value: float) -> str:
        """Returns what is expected instead of a number that doesn't lie within them, as text."""
        large = isinstance(value, int) and self.at_most is None and value > INT32
        return f"{self} and at most {INT32}" if large else str(self)

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
    field's type allows them, always pass."""
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
    """A dataclass that inherits this refuses, with a UsageError, values that lie outside their fields' bounds. What
    relates two options is for its own `__post_init__` to check, after that of `super()`."""

    def __post_init__(self) -> None:
        for name, bounds in bounds_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, int | float):
                require(self, name, bounds.hold(value), bounds.expected(value))
                require(self, name, bounds.hold(as_float32(value)), f"{bounds}, as float32 holds it too")


def as_float32(value: float) -> float:
    """Returns the number as float32 holds it, in which everything is computed; integers as they are."""
    return value if isinstance(value, int) else ctypes.c_float(value).value
