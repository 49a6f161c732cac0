"""What `--help` prints: the note of a program, and its arguments in groups."""

import dataclasses
import shutil
import textwrap
import typing
from collections.abc import Sequence
from pathlib import Path

from jaxgan.training.cli.arguments import Argument, is_choice, types_of
from jaxgan.training.errors.usage import shown

__all__ = ["help_text", "usage"]

WIDEST, NARROWEST = 120, 30  # characters of a line; no terminal, such as a pipe, has the widest
COLUMN = 26  # where docstrings begin, if half of the line is left to them
PLACEHOLDERS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def help_text(program: str, note: str, epilogue: str, arguments: Sequence[Argument]) -> str:
    """Returns the help: the paragraphs of a module's docstring as they were written, but for lines that don't fit the
    terminal; the epilogue; the arguments with docstrings and defaults, group by group, in the order of each group's
    first."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))
    parts = [f"usage: {usage(program, arguments)}", *_paragraphs(note, width), *_paragraphs(epilogue, width)]
    groups: dict[str, list[Argument]] = {}
    for argument in arguments:
        groups.setdefault(argument.group, []).append(argument)
    for group, members in groups.items():
        parts.append("\n".join([f"{group}:", *(_entry(each, width) for each in members)]))
    return "\n\n".join(parts)


def usage(program: str, arguments: Sequence[Argument]) -> str:
    """Returns how a program is called, in a line."""
    words = []
    for argument in sorted(arguments, key=lambda argument: not argument.positional):
        if argument.positional:
            word = f"{argument.typed} ..." if argument.several else argument.typed
            words.append(word if argument.default is dataclasses.MISSING else f"[{word}]")
        elif argument.default is dataclasses.MISSING:
            words.append(f"{argument.typed} {_placeholder(argument)}")
    return " ".join([program, *words, "[OPTIONS]"])


def _paragraphs(text: str, width: int) -> list[str]:
    """Returns the paragraphs of a text. One with lines that are too long is filled anew, but for indented lines, which
    are commands."""
    found = [paragraph.strip("\n") for paragraph in text.split("\n\n") if paragraph.strip()]
    long = [any(len(line) > width for line in paragraph.splitlines()) for paragraph in found]
    return [
        textwrap.fill(paragraph, width, break_long_words=False, break_on_hyphens=False)
        if too_long and not paragraph.startswith(" ")
        else paragraph
        for paragraph, too_long in zip(found, long, strict=True)
    ]


def _entry(argument: Argument, width: int) -> str:
    """Returns an argument's lines."""
    head = f"  {argument.typed}"
    if argument.switch:
        head += f", --no-{argument.flag}"
    elif not argument.positional:
        head += f" {_placeholder(argument)}".rstrip()
    default = "" if argument.default in (None, ()) else f"(default: {shown(argument.default)})"
    about = f"{argument.about} {'(required)' if argument.default is dataclasses.MISSING else default}"
    if len(head) > width:  # choices, which go on in the next line
        head = textwrap.fill(head.replace("|", "| "), width, subsequent_indent=" " * 6).replace("| ", "|")
    column = COLUMN if width >= 2 * COLUMN else 6
    lines = textwrap.wrap(" ".join(about.split()), width - column, break_on_hyphens=False) or [""]
    first = f"{head:{column}}{lines.pop(0)}" if len(head) + 2 <= column else head
    return "\n".join([first, *(f"{'':{column}}{line}" for line in lines)]).rstrip()


def _placeholder(argument: Argument) -> str:
    """Returns what stands for an option's value: its choices, or a word for its type."""
    if argument.switch:
        return ""
    kind = typing.get_args(argument.kind)[0] if argument.several else argument.kind
    words: list[str] = []
    for member in types_of(kind):
        words += map(str, typing.get_args(member)) if is_choice(member) else [PLACEHOLDERS.get(member, "")]
    return "|".join(word for word in words if word) + (" ..." if argument.several else "")
