"""Our docstrings, plain text with `code` and indented examples, as reStructuredText."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LINKS = re.compile(r"(https?://[^\s,;)]*[^\s,;).])|arXiv:? (\d{4}\.\d{4,5})")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
ENTRY = re.compile(r"((?:\w+|`[^`]+`)(?:, \w+)*): ")  # with no more than the names
FIELDS = re.compile(r"Alias for field number \d+")


def prose(text: str) -> str:
    """Returns a paragraph: `code` as a link where it names something of ours, addresses and arXiv's numbers as links,
    and all else as it stands."""
    parts = []
    for place, part in enumerate(re.split(r"`([^`]+)`", text)):
        if place % 2:
            name = re.sub(r"\s+", " ", part)
            parts.append(f":py:obj:`{name}`" if NAME.fullmatch(name) else f"``{name}``")
        else:
            parts.append(_linked(part))
    # Markup must not touch a word: a backslash and a space stand between them, and are not shown.
    return "".join(
        f"{part}\\ " if re.match(r"\w", after) and part.endswith("`") else part
        for part, after in zip(parts, [*parts[1:], ""], strict=True)
    )


def _linked(text: str) -> str:
    found, at = "", 0
    for link in LINKS.finditer(text):
        address = link[1] or f"https://arxiv.org/abs/{link[2]}"
        shown = address.removeprefix("https://") if link[1] else link[0]
        found += _escaped(text[at : link.start()]) + f"`{shown} <{address}>`__"
        at = link.end()
    return found + _escaped(text[at:])


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|`]|_(?!\w))", r"\\\1", text)


def restructured(text: str) -> str:
    """Returns a docstring as reStructuredText: paragraphs that are indented are shown as they are, and `name: what it
    is`, of which further lines are indented, as an entry of a list."""
    return "\n\n".join(
        f".. code-block:: text\n\n{re.sub('^', '   ', block, flags=re.MULTILINE)}"
        if block.startswith("    ")
        else entries(block)
        for block in re.split(r"\n[ \t]*\n", text.strip("\n"))
    )


def entries(block: str) -> str:
    """Returns a paragraph, or the list that it is."""
    lines = block.splitlines()
    if not any(line.startswith("    ") for line in lines[1:]) and not all(ENTRY.match(line) for line in lines):
        return prose(block)
    found: list[tuple[str, list[str]]] = []  # an entry's name, or none, and lines
    for line in lines:
        if match := ENTRY.match(line):
            found.append((match[1], [line[match.end() :]]))
        elif found and line.startswith("    ") == bool(found[-1][0]):
            found[-1][1].append(line.removeprefix("    "))
        else:
            found.append(("", [line.strip()]))
    return "\n\n".join(_entry(name, entries("\n".join(own))) for name, own in found)


def _entry(name: str, text: str) -> str:
    return f"- **{_escaped(name)}**: {text}".replace("\n", "\n  ") if name else text


def _process(app: "Sphinx", what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [*restructured("\n".join(lines)).splitlines(), ""]


def _skip(app: "Sphinx", what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out the fields of a named tuple, of which Python says no more than their places, and a field's default
    that is a function of jax, such as an initialiser, which looks like a method."""
    of_jax = str(getattr(obj, "__module__", "")).startswith("jax.")
    return True if of_jax or FIELDS.fullmatch(str(getattr(obj, "__doc__", ""))) else None


def _signature(
    app: "Sphinx", what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Takes away what Linen adds to every module, and addresses in memory."""
    if signature:
        signature = re.sub(r", (parent: .*?_Sentinel object at 0x\w+>|name: str \| None = None)(?=[,)])", "", signature)
        signature = re.sub(r"<(?:function|PjitFunction of <function) ([\w.<>]+?)(?: at 0x\w+>)+", r"\1", signature)
    return signature, returns


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
