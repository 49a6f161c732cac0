"""The end of an ensemble: a table for the terminal, `members.json`, and a plot of the score over what was swept.

A row is a dict, one a member: `member`, `seed`, the swept value by its name where something is swept, `frozen` (the
step at which the member diverged, or None), `score` (None where there is none), and its last metrics by name. Numbers
may be Python's, NumPy's or JAX's. Means are over the members with the same swept value, or over all; diverged members
are in none of them, and neither is a number that is missing or not finite.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan.files import atomic_write
from jaxgan.terminal import align_columns
from jaxgan.training.output.log import write_json

__all__ = ["Row", "Summary", "mean_and_std", "mean_std_text", "plot", "share_table", "summaries", "table", "write"]

Row = dict[str, Any]

MARKS = 16  # most marks that are named on an axis


class Summary(NamedTuple):
    """Members that share a swept value (None where nothing is swept), of which `counted` have what `mean` is over.

    std is the standard deviation with n - 1; None below two members, as `mean` is without any."""

    value: float | None
    members: int
    counted: int
    mean: float | None
    std: float | None


def _number(value: Any) -> float | None:
    """None for what is missing or not finite: JSON has no NaN, and no mean shall hold one."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def _plain(row: Row) -> Row:
    """Returns the row with plain integers, finite floats and None in it."""
    frozen = row.get("frozen")
    first = {"member": int(row["member"]), "seed": int(row["seed"]), "frozen": None if frozen is None else int(frozen)}
    return first | {name: _number(value) for name, value in row.items() if name not in first}


def mean_and_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the mean, None without a value, and the standard deviation with n - 1, None for fewer than two."""
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def summaries(rows: Sequence[Row], swept: str | None = None, name: str = "score") -> list[Summary]:
    """Returns means of `name`, one for each value of `swept` in ascending order, or one over all rows. ValueError
    without rows."""
    if not rows:
        raise ValueError("a report needs at least one member, got none")
    groups: dict[float | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(None if swept is None else float(row[swept]), []).append(row)
    found = []
    for value, members in sorted(groups.items(), key=lambda item: item[0] or 0.0):
        numbers = [_number(row.get(name)) for row in members if row.get("frozen") is None]
        finite = [number for number in numbers if number is not None]
        found.append(Summary(value, len(members), len(finite), *mean_and_std(finite)))
    return found


def table(rows: Sequence[Row], swept: str | None = None, score_name: str = "score", beside: Sequence[str] = ()) -> str:
    """Returns a table of every member with its score, the numbers called `beside`, and its last losses (metrics named
    `.../loss`), then their means ± standard deviations with the number of members behind them. ValueError without
    rows."""
    losses = [name for name in dict.fromkeys(name for row in rows for name in row) if name.endswith("/loss")]
    names = {"score": score_name} | {name: name for name in (*beside, *losses)}
    parameter = [] if swept is None else [swept]
    lines = [["member", "seed", *parameter, *names.values(), ""]]
    for row in rows:
        note = "" if row.get("frozen") is None else f"diverged at step {int(row['frozen']):,}"
        numbers = [_text(_number(row.get(name))) for name in (*parameter, *names)]
        lines.append([str(int(row["member"])), str(int(row["seed"])), *numbers, note])

    columns = [summaries(rows, swept, name) for name in names]
    below = [[*parameter, *names.values(), "members"]]
    for group in zip(*columns, strict=True):
        value = [] if swept is None else [_text(group[0].value)]
        spreads = [mean_std_text(each.mean, each.std) for each in group]
        below.append([*value, *spreads, f"{group[0].counted} of {group[0].members}"])
    return "\n".join([*align_columns(lines), "", *align_columns(below)])


def _text(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"


def mean_std_text(mean: float | None, std: float | None) -> str:
    """Returns the text of a mean and, where there is one, its standard deviation for tables."""
    return _text(mean) + ("" if std is None else f" ± {std:.2g}")


def share_table(title: str, found: Mapping[str, Sequence[float]], columns: Sequence[str]) -> list[str]:
    """Returns a table's lines: a row for each name in `found`, its shares, from 0 to 1, in per cent under these columns
    and, where there are several, their mean ± standard deviation."""
    several = len(columns) > 1
    lines = [[title, *columns, *(["mean ± std"] if several else [])]]
    for name, values in found.items():
        mean, std = mean_and_std([100 * value for value in values])
        lines.append([name, *(f"{100 * value:.2f} %" for value in values)])
        lines[-1] += [f"{mean:.2f} ± {std:.2f} %"] if several else []
    return align_columns(lines)


def plot(path: Path, rows: Sequence[Row], swept: str | None = None, score_name: str = "score") -> None:
    """Writes a PNG of the score over the values of `swept`, or over the seeds where nothing is swept: a dot a member,
    and the mean ± standard deviation. Diverged members are crosses at the lower edge, with their number where there are
    more. Values that span a decade stand on a logarithmic axis, 0 as far from the next as a decade is long. ValueError
    without rows."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    groups = summaries(rows, swept)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=swept or "seed", ylabel=score_name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)  # crosses have the lower edge for themselves

    # Without a sweep by place and not by seed, so that seeds that are far apart stand side by side.
    places = [float(i if swept is None else row[swept]) for i, row in enumerate(rows)]
    _marks(axes, [f"{int(row['seed'])}" for row in rows] if swept is None else None, places)
    dots = [
        (x, number)
        for x, row in zip(places, rows, strict=True)
        if row.get("frozen") is None and (number := _number(row.get("score"))) is not None
    ]
    if not dots:
        axes.set_yticks([])
        why = "every member diverged" if all(row.get("frozen") is not None for row in rows) else "no member has a score"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center")
    _means(axes, groups)
    axes.plot(*zip(*dots, strict=True) if dots else ([], []), "o", color="tab:blue", alpha=0.5, label="member")
    _crosses(axes, [x for x, row in zip(places, rows, strict=True) if row.get("frozen") is not None])
    if dots:
        figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _marks(axes: Any, names: list[str] | None, places: list[float]) -> None:
    """Sets the x axis: its kind, and the values themselves as marks where they are few."""
    values = sorted(set(places))
    positive = [value for value in values if value > 0]
    if names is None and values[0] >= 0 and positive and positive[-1] >= 10 * positive[0]:
        axes.set_xscale(**({"value": "log"} if values[0] > 0 else {"value": "symlog", "linthresh": positive[0]}))
        axes.margins(x=0.1)
    elif len(values) == 1:
        axes.set_xlim(values[0] - 0.5, values[0] + 0.5)
    if names is None and len(values) <= MARKS:
        places, names = values, [f"{value:.4g}" for value in values]
        axes.set_xticks([], minor=True)
    if names is not None:
        step = -(-len(names) // MARKS)
        long = sum(map(len, names[::step])) > 70  # characters that fit side by side
        axes.set_xticks(places[::step], names[::step], rotation=45 if long else 0)


def _means(axes: Any, groups: list[Summary]) -> None:
    known = [(group.value, group.mean, group.std or 0.0) for group in groups if group.mean is not None]
    if not known:
        return
    values, means, stds = zip(*known, strict=True)
    label, colour = "mean ± standard deviation" if any(stds) else "mean", "tab:orange"
    if values[0] is None:
        axes.axhline(means[0], color=colour, label=label)
        axes.axhspan(means[0] - stds[0], means[0] + stds[0], color=colour, alpha=0.15, linewidth=0)
    else:
        axes.errorbar(values, means, stds, color=colour, capsize=4, label=label)


def _crosses(axes: Any, places: list[float]) -> None:
    at_the_edge = axes.get_xaxis_transform()  # x in values, y in fractions of the height
    for i, x in enumerate(sorted(set(places))):
        label = "diverged" if i == 0 else None
        axes.plot([x], [0.04], "x", color="tab:red", transform=at_the_edge, label=label)
        if (count := places.count(x)) > 1:
            axes.annotate(str(count), (x, 0.04), (6, -4), at_the_edge, "offset points", color="tab:red")


def write(directory: Path, rows: Sequence[Row], swept: str | None = None, score_name: str = "score") -> None:
    """Writes `members.json` and `members.png` to `directory`. ValueError without rows."""
    record = {
        "score_name": score_name,
        "swept": swept,
        "members": [_plain(row) for row in rows],
        "summary": [group._asdict() for group in summaries(rows, swept)],
    }
    write_json(directory / "members.json", record)
    plot(directory / "members.png", rows, swept, score_name)
