"""Line charts as SVG text: no library, no script, colours from the page's style sheet."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Series", "line_chart"]

WIDTH, HEIGHT = 420, 220  # about a telephone's width, so that text isn't shrunk there
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 24
COLOURS = 6  # of the style sheet, c0 to c5


class Series(NamedTuple):
    """A line. points: (x, y), or (x, y, low, high) with a band around it; y that isn't finite, or on a logarithmic axis
    not above 0, is left out. faint: one of many, without a name below the chart. level: a dashed line at one height."""

    name: str
    points: Sequence[tuple[float, ...]]
    faint: bool = False
    level: bool = False
    colour: int | None = None


class _Scale(NamedTuple):
    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        at = math.log10(value) if self.log else value
        return self.first + (at - low) / ((high - low) or 1.0) * (self.last - self.first)


def line_chart(title: str, series: Sequence[Series], *, log: bool = False) -> str:
    """Returns a figure with a chart of the series over steps, its caption and their names with the last values; ""
    where nothing can be drawn. log: a logarithmic axis, where the values span more than a decade."""
    shown = [one._replace(points=[p for p in one.points if _fits(p, log)]) for one in series]
    shown = [one for one in shown if one.points]
    spread = [value for one in shown for point in one.points for value in _heights(point, log)]
    if not spread or not any(not one.level for one in shown):
        return ""
    log = log and max(spread) > 10 * min(spread)
    xs = [point[0] for one in shown if not one.level for point in one.points]
    x = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = _range(spread, log)
    y = _Scale(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [*_grid(x, y), *(_drawn(one, number, x, y) for number, one in enumerate(shown))]
    names = "".join(_name(one, number) for number, one in enumerate(shown) if not one.faint)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over steps">{"".join(parts)}</svg>'
        f'<p class="names">{names}</p></figure>'
    )


def _fits(point: Sequence[float], log: bool) -> bool:
    return all(map(math.isfinite, point)) and (not log or point[1] > 0)


def _heights(point: Sequence[float], log: bool) -> list[float]:
    return [value for value in point[1:] if not log or value > 0]


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    """Returns the ends of an axis: the values', but for the few that would leave the others no room."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    if log:
        return low, high
    inner = ordered[len(ordered) // 50], ordered[-1 - len(ordered) // 50]
    room = (inner[1] - inner[0]) or abs(high) or 1.0
    low, high = max(low, inner[0] - room / 2), min(high, inner[1] + room / 2)
    return (low, high) if high > low else (low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1))


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round numbers between two."""
    unit = 10 ** math.floor(math.log10((high - low) / most))
    step = next(each * unit for each in (1, 2, 5, 10) if (high - low) / (each * unit) <= most)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1, max(1, -(-(last - first + 1) // 5)))]


def _label(value: float) -> str:
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if abs(value) >= 1e4:
        return f"{value / 1e3:.4g}k"
    return f"{value:.4g}"


def _grid(x: _Scale, y: _Scale) -> list[str]:
    parts = []
    for value in _decades(y.low, y.high) if y.log else _ticks(y.low, y.high, 5):
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_label(value)}</text>')
    ticks = _ticks(x.low, x.high, 4) if x.high > x.low else [x.low]
    for value in ticks:
        anchor = "end" if x(value) > WIDTH - RIGHT - 16 else "middle"
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{_label(value)}</text>')
    return parts


def _drawn(one: Series, number: int, x: _Scale, y: _Scale) -> str:
    colour = _colour(one, number)
    places = [(f"{x(point[0]):.1f}", *(_clipped(y, value) for value in point[1:])) for point in one.points]
    if one.level:
        at = places[0][1]
        return f'<line class="level {colour}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
    if len(places) == 1:
        return f'<circle class="dot {colour}" cx="{places[0][0]}" cy="{places[0][1]}" r="3"/>'
    band = ""
    if len(places[0]) == 4:
        around = [
            *(f"{place[0]},{place[3]}" for place in places),
            *(f"{place[0]},{place[2]}" for place in places[::-1]),
        ]
        band = f'<polygon class="band {colour}" points="{" ".join(around)}"/>'
    line = " ".join(f"{place[0]},{place[1]}" for place in places)
    return f'{band}<polyline class="line {colour}{" faint" * one.faint}" points="{line}"/>'


def _colour(one: Series, number: int) -> str:
    return f"c{(number if one.colour is None else one.colour) % COLOURS}"


def _clipped(y: _Scale, value: float) -> str:
    return f"{y(min(max(value, y.low), y.high)):.1f}"


def _name(one: Series, number: int) -> str:
    kind = _colour(one, number) + " level" * one.level
    return f'<span class="{kind}">{escape(one.name)} <b>{one.points[-1][1]:.4g}</b></span> '
