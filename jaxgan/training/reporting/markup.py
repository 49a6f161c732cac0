"""Pieces of HTML. Whatever a run directory says is text: none of it becomes a tag."""

from collections.abc import Sequence
from html import escape

from jaxgan.printable import printable
from jaxgan.training.scoring.outcome import Verdict

__all__ = ["section", "soft", "table", "text", "verdict_line"]


def text(value: object) -> str:
    """Returns a value as it stands in HTML."""
    return escape(printable(str(value)))


def soft(value: object) -> str:
    """Returns a value that stands back behind others."""
    return f'<span class="soft">{text(value)}</span>'


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Returns a table of cells that are HTML already; "" without rows."""
    if not rows:
        return ""
    top = f"<tr>{''.join(f'<th>{each}</th>' for each in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{top}{body}</table></div>'


def section(title: str, *parts: str) -> str:
    """Returns a part of the report with its heading; "" where there is nothing in it."""
    inside = "".join(parts)
    return f"<section><h2>{title}</h2>{inside}</section>" if inside else ""


def verdict_line(verdict: Verdict) -> str:
    """Returns the word and its sign."""
    kind = verdict.state.replace(" ", "-")
    return f'<p class="verdict {kind}"><strong>{verdict.state.capitalize()}</strong>{text(verdict.sign)}</p>'
