"""Where a run comes from, how long it took and by which command, as far as its files say it."""

import shlex
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from jaxgan.training.reporting.course import Course

__all__ = ["about", "duration", "moment", "repeated_by", "sessions", "speed", "trained_seconds"]

DEEPEST, LONGEST = 4, 2000  # of what is shown of a table in a record

Event = dict[str, Any]


def about(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Lists the names and values of a table within a table, whatever is in it, as texts."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        parts = enumerate(value, 1)
    if parts and depth < DEEPEST:
        for key, each in parts:
            yield from about(each, f"{name} {key}".strip(), depth + 1)
    elif value is not None:
        texts = [str(each) for each in value] if isinstance(value, list) else []
        text = (shlex.join if name.endswith(("command", "argv")) else ", ".join)(texts) if texts else str(value)
        yield name, text if len(text) < LONGEST else f"{text[:LONGEST]} ..."


def repeated_by(course: Course) -> str:
    """Returns the command that repeats the run in a directory of its own."""
    name = course.record["experiment"]
    program = ["python", name] if name.endswith(".py") else ["python", "-m", name]
    return shlex.join([*program, "--options", str(course.directory / "options.json"), "--workdir", "DIRECTORY"])


def sessions(course: Course) -> list[tuple[Event, Event]]:
    """Returns the times that a process took the run up: the first and the last that is known of each."""
    found: list[list[Event]] = []
    for event in course.history:
        if event["event"] == "began" or not found:
            found.append([])
        found[-1].append(event)
    return [(events[0], events[-1]) for events in found]


def trained_seconds(course: Course) -> float:
    """Returns how long processes have trained it, from when each took it up to what is last known of it."""
    return sum(max(0.0, last["time"] - first["time"]) for first, last in sessions(course))


def speed(course: Course) -> float | None:
    """Returns the examples in a second, of all its GANs: the median between two events of one session of more steps;
    None where too little is known."""
    known = [row["images"] / row["step"] for row in course.rows if row.get("images") and row["step"]]
    rates = [
        (after["step"] - before["step"]) / (after["time"] - before["time"])
        for before, after in pairwise(course.history)
        if after["event"] != "began" and before["event"] != "began"
        if after["step"] > before["step"] and after["time"] > before["time"]
    ]
    return statistics.median(rates) * known[-1] * max(1, course.members) if rates and known else None


def moment(seconds: float) -> str:
    """Returns a time as a date, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def duration(seconds: float) -> str:
    """Returns a length of time in words, in two units at most."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
