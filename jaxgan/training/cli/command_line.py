"""Dataclasses from command-line arguments, with every mistake told in one line."""

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from jaxgan.terminal import say
from jaxgan.training.cli.arguments import Argument, arguments_of, sentence, value_of
from jaxgan.training.cli.help import help_text, usage
from jaxgan.training.cli.words import meant
from jaxgan.training.errors.usage import UsageError, shown

__all__ = ["command_line"]

T = TypeVar("T")

LISTED = "(--help lists the options)"
OPTION = re.compile(r"--.|-[^\W\d_]", re.DOTALL)  # how an option begins, and no negative number
NUMBER = re.compile(r"-(inf|infinity|nan)", re.IGNORECASE)


def command_line(
    options_type: type[T],
    arguments: Sequence[str] | None = None,
    *,
    epilogue: str = "",
    default: T | None = None,
    renamed: Mapping[str, str] = MappingProxyType({}),
    beside: Sequence[Argument] = (),
) -> T:
    """Makes `options_type`, a dataclass, of command-line arguments. What they don't give is as in `default`, or else as
    the fields have it. A field `some_name` is `--some-name VALUE`, or `--some-name` and `--no-some-name` where it is
    true or false; one whose type is `Positional` is given without a name, and a tuple takes all values up to the next
    option. Of an option that is given twice the last value counts; values of a tuple add up.

    `--help` shows the docstring of the type's module, then `epilogue`, then the fields with their docstrings. renamed:
    by an option's former name, such as "--grid", the option of today, such as "--out FILE.png". beside: options that
    the caller has taken out of the arguments before.

    UsageError in one line where the arguments are wrong, or have a former name."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in (argument.partition("=")[0] for argument in given):
        if name in renamed:
            raise UsageError(f"{name} is now {renamed[name]} {LISTED}")
    known = arguments_of(cast(Any, options_type))  # mypy knows of no hash
    if default is not None:
        known = tuple(argument._replace(default=getattr(default, argument.name)) for argument in known)
    if {"-h", "--help"} & set(given):
        note = sys.modules[options_type.__module__].__doc__ or ""
        say(*help_text(_program(), note, epilogue, _in_order(options_type, [*known, *beside])).split("\n"))
        raise SystemExit(0)
    values = _values(known, given, [*known, *beside])
    for argument in known:
        if argument.name not in values and argument.default is dataclasses.MISSING:
            raise UsageError(f"{_missing(argument, known, values)}; usage: {usage(_program(), known)}")
    return options_type(**{argument.name: argument.default for argument in known} | values)


def _program() -> str:
    main = sys.modules["__main__"].__spec__
    return f"python -m {main.name}" if main else f"python {Path(sys.argv[0]).name}"


def _in_order(options_type: type, arguments: Sequence[Argument]) -> list[Argument]:
    """Returns arguments, those first that no class of options shares with others, then as the bases follow."""
    groups = [base.__dict__["GROUP"] for base in options_type.__mro__ if "GROUP" in base.__dict__]
    return sorted(arguments, key=lambda argument: groups.index(argument.group) if argument.group in groups else -1)


def _values(known: Sequence[Argument], given: Sequence[str], mentioned: Sequence[Argument]) -> dict[str, Any]:
    """Returns the values by their fields' names. mentioned: the options that a wrong one may have been meant to be."""
    options = {f"--{argument.flag}": argument for argument in known if not argument.positional}
    off = {f"--no-{argument.flag}": argument for argument in known if argument.switch}
    values: dict[str, Any] = {}
    bare, last, left = [], None, list(given)
    while left:
        word = left.pop(0)
        if word == "--":
            bare += left
            break
        if not _is_option(word):
            if last is not None and last.switch:
                raise UsageError(_takes_no_value(last, word))
            bare.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = typed.replace("_", "-")
        last = options.get(name) or off.get(name)
        if last is None:
            raise UsageError(f"{shown(typed)} is no option{meant(typed, mentioned)} {LISTED}")
        if last.switch and equals:
            raise UsageError(_takes_no_value(last, value))
        if last.switch:
            values[last.name] = name in options
            continue
        found = tuple(value_of(last, text) for text in ([value] if equals else _following(left, last)))
        values[last.name] = (*values.get(last.name, ()), *found) if last.several else found[0]
    return values | _positional([argument for argument in known if argument.positional], bare, mentioned)


def _is_option(word: str) -> bool:
    return OPTION.match(word) is not None and NUMBER.fullmatch(word) is None


def _following(left: list[str], argument: Argument) -> list[str]:
    """Takes the values of an option from what is left of the arguments."""
    count = 0
    while count < len(left) and not _is_option(left[count]) and left[count] != "--" and (argument.several or not count):
        count += 1
    if not count:
        about = sentence(argument)
        raise UsageError(f"{argument.typed} needs a value{': ' if about else ''}{about}")
    texts = left[:count]
    del left[:count]
    return texts


def _positional(takers: Sequence[Argument], bare: list[str], mentioned: Sequence[Argument]) -> dict[str, Any]:
    """Returns the values of what is given without a name."""
    values: dict[str, Any] = {}
    for argument in takers:
        if bare:
            texts, bare = (bare, []) if argument.several else (bare[:1], bare[1:])
            found = tuple(value_of(argument, text) for text in texts)
            values[argument.name] = found if argument.several else found[0]
    if bare:
        name, equals, _ = bare[0].partition("=")
        hint = meant(name, mentioned) if equals else ""
        takes = ", ".join(argument.typed for argument in takers)
        other = f"only {takes} is given without one" if takes else "it needs one before it, such as --NAME VALUE"
        raise UsageError(f"{shown(bare[0])} belongs to no option{hint or f'; {other}'} {LISTED}")
    return values


def _takes_no_value(argument: Argument, value: str) -> str:
    return f"{argument.typed} takes no value, got {shown(value)}; it is turned off by --no-{argument.flag}"


def _missing(argument: Argument, known: Sequence[Argument], values: Mapping[str, Any]) -> str:
    """Says what is missing, and where a value of a tuple may have been meant for it."""
    about = sentence(argument)
    greedy = [each.typed for each in known if each.several and each.name in values and argument.positional]
    where = f"; it comes before {greedy[0]}, which takes all that follows" if greedy else ""
    return f"{argument.typed} is missing{f' ({about})' if about else ''}{where}"
