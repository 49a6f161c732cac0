"""Dataclasses from command-line arguments, with every mistake told in one line."""

import argparse
import contextlib
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from jaxgan import __version__
from jaxgan.terminal import say, steady_output
from jaxgan.training.cli.arguments import Argument, arguments_of, sentence, value_of
from jaxgan.training.cli.help import help_text, usage
from jaxgan.training.cli.words import meant
from jaxgan.training.errors.usage import UsageError, shown

__all__ = ["command_line"]

T = TypeVar("T")

LISTED = "(--help lists the options)"
TRUTHS = ("true", "false", "yes", "no", "on", "off", "1", "0")


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

    `--help` shows the docstring of the type's module, then `epilogue`, then the fields with their docstrings;
    `--version` is jaxgan's. renamed: by an option's former name, such as "--grid", the option of today, such as "--out
    FILE.png". beside: options that the caller has taken out of the arguments before.

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
        with steady_output():
            say(*help_text(_program(), note, epilogue, _in_order(options_type, [*known, *beside])).split("\n"))
        raise SystemExit(0)
    if "--version" in given:
        with steady_output():
            say(f"jaxgan {__version__}")
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
    end = given.index("--") if "--" in given else len(given)  # after which all is given without a name
    options = [argument for argument in known if not argument.positional]
    words = _plain(given[:end], options)
    try:
        found, bare = _parser(options).parse_known_args(words)
    except argparse.ArgumentError as error:
        name = str(error.argument_name).partition("/")[0]
        argument = next(each for each in options if each.typed == name)
        raise UsageError(_takes_no_value(argument) if argument.switch else _needs_a_value(argument)) from None
    if wrong := next((word for word in bare if word.startswith("-") and not _is_number(word)), None):
        typed = wrong.partition("=")[0]
        raise UsageError(f"{shown(typed)} is no option{meant(typed, mentioned)} {LISTED}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(found).items()}
    more, left = _positional([argument for argument in known if argument.positional], [*bare, *given[end + 1 :]])
    if left:
        raise UsageError(_belongs_to_none(left[0], known, mentioned))
    return values | more


def _parser(options: Sequence[Argument]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
    )
    for argument in options:
        how: dict[str, Any] = {"type": functools.partial(value_of, argument)}
        if argument.switch:
            how = {"action": argparse.BooleanOptionalAction}
        elif argument.several:
            how |= {"nargs": "+", "action": "extend"}
        parser.add_argument(argument.typed, dest=argument.name, **how)
    return parser


def _plain(given: Sequence[str], options: Sequence[Argument]) -> list[str]:
    """Returns the words as argparse takes them: names of options with dashes, and behind an option's `=` what it might
    take for something else, a negative number or, after a switch, a word such as false; of several values each behind
    the name again."""
    kinds = {argument.typed: argument.switch for argument in options}
    several = {argument.typed for argument in options if argument.several}
    words: list[str] = []
    taker = ""  # the option of several values that takes what comes
    for word in given:
        name, equals, value = word.partition("=")
        option = words[-1] if words and words[-1] in kinds else None
        if (typed := name.replace("_", "-")) in kinds:
            words.append(f"{typed}{equals}{value}")
            taker = typed if typed in several and not equals else ""
        elif taker and (_is_number(word) or not word.startswith("-")):
            if words[-1] == taker:
                words.pop()
            words.append(f"{taker}={word}")
        elif option and (word.casefold() in TRUTHS if kinds[option] else _is_number(word)):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _is_number(word: str) -> bool:
    """Tells whether a word that begins with a dash is a number."""
    with contextlib.suppress(ValueError):
        float(word)
        return word.startswith("-")
    return False


def _positional(takers: Sequence[Argument], bare: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Returns the values of what is given without a name, and the words that are left."""
    values: dict[str, Any] = {}
    for argument in takers:
        if bare:
            texts, bare = (bare, []) if argument.several else (bare[:1], bare[1:])
            found = tuple(value_of(argument, text) for text in texts)
            values[argument.name] = found if argument.several else found[0]
    return values, bare


def _belongs_to_none(word: str, known: Sequence[Argument], mentioned: Sequence[Argument]) -> str:
    name, equals, _ = word.partition("=")
    hint = meant(name, mentioned) if equals else ""
    takes = ", ".join(argument.typed for argument in known if argument.positional)
    other = f"only {takes} is given without one" if takes else "it needs one before it, such as --NAME VALUE"
    return f"{shown(word)} belongs to no option{hint or f'; {other}'} {LISTED}"


def _needs_a_value(argument: Argument) -> str:
    about = sentence(argument)
    return f"{argument.typed} needs a value{': ' if about else ''}{about}"


def _takes_no_value(argument: Argument) -> str:
    return f"{argument.typed} takes no value; it is turned off by --no-{argument.flag}"


def _missing(argument: Argument, known: Sequence[Argument], values: Mapping[str, Any]) -> str:
    """Says what is missing, and where a value of a tuple may have been meant for it."""
    about = sentence(argument)
    greedy = [each.typed for each in known if each.several and each.name in values and argument.positional]
    where = f"; it comes before {greedy[0]}, which takes all that follows" if greedy else ""
    return f"{argument.typed} is missing{f' ({about})' if about else ''}{where}"
