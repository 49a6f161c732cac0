"""The arguments that a dataclass's fields are on a command line, and the values of their texts."""

import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import math
import re
import textwrap
import types
import typing
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from jaxgan.nearest import perhaps
from jaxgan.training.errors.usage import UsageError, either, flag, shown

__all__ = ["Argument", "Positional", "arguments_of", "is_choice", "sentence", "types_of", "value_of"]

T = TypeVar("T")

POSITIONAL = object()
Positional = Annotated[T, POSITIONAL]  # of a field that is given without its name

NONE = ("none", "None")
DIGITS = dict(
    zip(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), range(10), strict=True)
)
OTHERS = "this program's own options"  # the group of classes that name none


class Argument(NamedTuple):
    """A field as an argument: its name, the name that is typed, without dashes, its type, whether it is given without a
    name, its default (`dataclasses.MISSING` for none), its docstring, and the group that it is shown in."""

    name: str
    flag: str
    kind: Any
    positional: bool
    default: Any
    about: str
    group: str

    @property
    def typed(self) -> str:
        """Returns what messages call it."""
        return self.flag.upper() if self.positional else f"--{self.flag}"

    @property
    def switch(self) -> bool:
        return self.kind is bool

    @property
    def several(self) -> bool:
        return typing.get_origin(self.kind) is tuple


@functools.cache
def arguments_of(options_type: type) -> tuple[Argument, ...]:
    """Returns a dataclass's fields as arguments. A field's group is the `GROUP` of the class that declares it first, if
    that has one, and otherwise the `OWN_GROUP` of the dataclass."""
    kinds = typing.get_type_hints(options_type, include_extras=True)
    bases = [base for base in options_type.__mro__ if dataclasses.is_dataclass(base)]
    docstrings: dict[str, str] = {}
    groups: dict[str, str] = {}
    for base in reversed(bases):
        docstrings |= _docstrings(base)
        for name in vars(base).get("__annotations__", {}):
            groups.setdefault(name, str(vars(base).get("GROUP") or getattr(options_type, "OWN_GROUP", OTHERS)))
    found = []
    for field in dataclasses.fields(options_type):
        kind, marks = kinds[field.name], list[Any]()
        if typing.get_origin(kind) is Annotated:
            kind, *marks = typing.get_args(kind)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        about, group = docstrings.get(field.name, ""), groups[field.name]
        found.append(Argument(field.name, flag(field.name), kind, POSITIONAL in marks, default, about, group))
    return tuple(found)


def _docstrings(options_type: type) -> dict[str, str]:
    """Returns the docstrings below a class's fields by their names; of a class without a source none."""
    with contextlib.suppress(OSError, TypeError):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(options_type))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        return {
            ast.unparse(field.target): inspect.cleandoc(str(text.value.value))
            for field, text in itertools.pairwise(body)
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        }
    return {}


def sentence(argument: Argument) -> str:
    """Returns what an argument is, in a few words: the first part of its docstring, in small letters."""
    first = re.split(r"[.;:](?:\s|$)", " ".join(argument.about.split()), maxsplit=1)[0]
    if first.count("(") > first.count(")"):  # cut within brackets
        first = first[: first.rindex("(")].rstrip()
    return first[:1].lower() + first[1:]


def value_of(argument: Argument, text: str) -> Any:
    """Returns the value that a text stands for, one of them where the argument takes several. UsageError in a line that
    says what is expected."""
    kind = typing.get_args(argument.kind)[0] if argument.several else argument.kind
    members = types_of(kind)
    for member in members:
        with contextlib.suppress(ValueError):
            return _read(member, text)
    choices = [str(choice) for member in members if is_choice(member) for choice in typing.get_args(member)]
    expected = either([*choices, *(WORDS[member] for member in members if member in WORDS)])
    about = sentence(argument)
    hint = perhaps(text, choices) or _written(members, text) or (f" ({about})" if about and not choices else "")
    more = ", with spaces between" if argument.several else ""
    raise UsageError(f"{argument.typed} must be {expected}{more}, got {shown(text)}{hint}")


WORDS = {int: "a whole number", float: "a number", Path: "a path", str: "some text"}


def types_of(kind: Any) -> list[Any]:
    """Returns the types of a union, or the one that it is, in the order in which a text is tried as each."""
    members = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    order = [types.NoneType, int, float, Path, str]
    return sorted(members, key=lambda member: order.index(member) if member in order else 0)


def is_choice(kind: Any) -> bool:
    """Tells whether a type is of a few values that are all named."""
    return typing.get_origin(kind) is typing.Literal


def _read(kind: Any, text: str) -> Any:
    """Returns the value of a text; ValueError where it is none of this type."""
    if kind is types.NoneType and text in NONE:
        return None
    if is_choice(kind) and (found := [choice for choice in typing.get_args(kind) if str(choice) == text]):
        return found[0]
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)  # what isn't finite is refused by the field's bounds
    if kind is Path and text:
        return Path(text)
    if kind is str and text:
        return text
    raise ValueError(text)


def _written(kinds: list[Any], text: str) -> str:
    """Returns how a number should be written that is written otherwise, such as 1e3, 0,5 or seven."""
    number: float | None = DIGITS.get(text.casefold())
    with contextlib.suppress(ValueError):
        number = float(text.replace(",", ".", 1)) if number is None else number
    if number is None or not math.isfinite(number) or not {int, float} & set(kinds):
        return ""
    if float in kinds:
        return f"; write {number:g}"
    return f"; write {int(number)}" if number == int(number) and abs(number) < 1e12 else ""
