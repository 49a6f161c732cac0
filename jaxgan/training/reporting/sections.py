"""The parts of a report on one run."""

from collections.abc import Sequence

import numpy as np

from jaxgan.training.reporting.charts import Series, line_chart
from jaxgan.training.reporting.copies import copies_of
from jaxgan.training.reporting.course import Course, smoothed
from jaxgan.training.reporting.frames import MOST, as_address, frames
from jaxgan.training.reporting.markup import section, soft, table, text, verdict_line
from jaxgan.training.reporting.provenance import (
    about,
    duration,
    moment,
    repeated_by,
    sessions,
    speed,
    trained_seconds,
)
from jaxgan.training.reporting.scored import score_charts, score_table, scored
from jaxgan.training.scoring.outcome import Verdict
from jaxgan.training.scoring.report import mean_and_std, mean_std_text

__all__ = ["article", "verdict_on"]

POINTS, FAINT = 160, 60  # of a line in a chart: of a run, and of one member of many
LOSSES, NORMS = "/loss", "/gradient_norm"
REAL, FAKE = "discriminator/real_logits", "discriminator/fake_logits"


def article(course: Course, pictures: int = MOST) -> str:
    """Returns the whole report on a run, with at most so many pictures."""
    return "".join(
        [
            heading(course),
            section("Pictures", film(course, pictures)),
            section("Scores", scores(course)),
            section("Losses and gradients", curves(course)),
            section("Members", members(course)),
            section("Nearest training images", copies(course)),
            section("The run", origin(course), options(course)),
        ]
    )


def verdict_on(course: Course) -> Verdict:
    """Returns the verdict on a run: of several GANs the most frequent, and how many are what."""
    verdicts = [course.verdict(number) for number in course.numbers()]
    if not course.members:
        return verdicts[0]
    states = [each.state for each in verdicts]
    ordered = sorted(dict.fromkeys(states), key=states.count, reverse=True)
    counts = ", ".join(f"{states.count(state)} {state}" for state in ordered)
    return Verdict(ordered[0], f"of {course.members} GANs: {counts}")


def heading(course: Course) -> str:
    """The name, the verdict, and the figures that one asks for first."""
    steps, rate = course.options.get("steps"), speed(course)
    facts = [f"step {course.step:,}" + (f" of {steps:,}" if isinstance(steps, int) else "")]
    if course.history:
        facts += [f"trained for {duration(trained_seconds(course))}", course.ended or "not ended, or killed"]
    if rate:
        facts.append(f"{rate:,.0f} examples a second")
    where = f"<p>{soft(course.record['experiment'])} {soft(course.directory)}</p>"
    verdict = verdict_line(verdict_on(course))
    return f"<h1>{text(course.directory.name)}</h1>{where}{verdict}<p>{text(' · '.join(facts))}</p>"


def film(course: Course, most: int) -> str:
    """The fixed latents' pictures, to be turned over by a slider, or side by side where no script runs."""
    found = frames(course.pictures, most)
    if not found:
        return ""
    figures = "".join(
        f'<figure><img src="{address}" alt="samples at step {step:,}" decoding="async">'
        f"<figcaption>step {step:,}</figcaption></figure>"
        for step, address in found
    )
    left = len(course.pictures) - len(found)
    more = f"<p>{soft(f'{left:,} more are in samples/')}</p>" if left else ""
    if len(found) == 1:
        return f'<div class="frames">{figures}</div>{more}'
    last, name = len(found) - 1, f"pictures of {text(course.directory.name)}"
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="{name}">'
    turn = f'<div class="turn">{slider}<button type="button">Play</button></div>'
    return f'<div class="strip">{turn}<div class="frames">{figures}</div></div>{more}'


def scores(course: Course) -> str:
    """A chart of each score that there are several of, and a table of the newest with their protocols and floors."""
    groups = scored(course)
    evaluate = f"<code>python -m scripts.evaluate {text(course.directory)}</code>"
    if not groups:
        return f"<p>None yet: {evaluate}, or <code>--eval-every</code> on the way.</p>"
    hint = "" if any(each.floor for each in groups) else f"<p>What real examples score is found by {evaluate}.</p>"
    return f"{score_charts([course])}{score_table(groups)}{hint}"


def curves(course: Course) -> str:
    """Charts of the losses, the discriminator's margin and the gradient norms."""
    losses, norms = (
        [line for number, name in enumerate(course.names(ending)) for line in _logged(course, name, number)]
        for ending in (LOSSES, NORMS)
    )
    charts = [
        line_chart("Losses", losses),
        line_chart("The discriminator's margin: logits of real examples less those of generated ones", _margin(course)),
        line_chart("Gradient norms", norms, log=True),
    ]
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _margin(course: Course) -> list[Series]:
    if not course.rows or not {REAL, FAKE} <= course.rows[-1].keys():
        return []
    lines = []
    for number in [*range(course.members), None]:
        pairs = zip(course.metric(REAL, number), course.metric(FAKE, number), strict=True)
        values = [None if real is None or fake is None else real - fake for real, fake in pairs]
        lines += _line(course, "margin", values, 0, faint=number is not None)
    return lines


def _logged(course: Course, name: str, colour: int) -> list[Series]:
    """The course of a metric: of one GAN, or of each member, faint, and their mean."""
    short = name.rpartition("/")[0] or name
    lines = []
    for number in [*range(course.members), None]:
        lines += _line(course, short, course.metric(name, number), colour, faint=number is not None)
    return lines


def _line(course: Course, name: str, values: Sequence[float | None], colour: int, *, faint: bool) -> list[Series]:
    points = smoothed([row["step"] for row in course.rows], values, FAINT if faint else POINTS)
    return [Series(name, [point[:2] for point in points] if faint else points, faint, colour=colour)] if points else []


def members(course: Course) -> str:
    """A line for each GAN of a run of several: its verdict, its newest scores and its last losses; and their spread."""
    if not course.members:
        return ""
    groups, names, numbers = scored(course), course.names(LOSSES), range(course.members)
    columns = [[each.steps[each.newest].get(number) for number in numbers] for each in groups]
    columns += [[_last(course.metric(name, number)) for number in numbers] for name in names]
    rows = []
    for number in numbers:
        verdict = course.verdict(number)
        cells = ["-" if column[number] is None else f"{column[number]:.4g}" for column in columns]
        rows.append([str(number), f"<b>{verdict.state}</b> {soft(verdict.sign)}", *cells])
    known = [[value for value in column if value is not None] for column in columns]
    rows.append(["", "mean ± standard deviation", *(mean_std_text(*mean_and_std(column)) for column in known)])
    return table(rows, ["member", "verdict", *(text(each.name) for each in groups), *map(text, names)])


def _last(values: Sequence[float | None]) -> float | None:
    """The mean of the last tenth of a metric's values."""
    last = [value for value in values[-max(1, len(values) // 10) :] if value is not None]
    return float(np.mean(last)) if last else None


def copies(course: Course) -> str:
    """Samples beside the training images that are nearest to them, where that was looked for."""
    found = copies_of(course.directory)
    if found is None:
        return "<p>Not looked for: that is done when a run of images ends, and by <code>scripts.report</code>.</p>"
    content, said = found
    return f'<img class="copies" src="{as_address(content)}" alt="samples and their neighbours"><p>{text(said)}</p>'


def origin(course: Course) -> str:
    """Where the run came from, when it was trained, what repeats it, and what else its record says."""
    record, given = course.record["data"], course.options
    rows = [("repeated by", repeated_by(course))]
    if given.get("from_run"):
        rows.append(
            ("came from", ", ".join(f"{given[name]}" for name in ("from_run", "step", "players") if given.get(name)))
        )
    for first, last in sessions(course):
        word = f"taken up at step {first['step']:,}" if first["step"] else "began"
        why = last.get("why") or "no end is known: it is being trained, or was killed"
        rows.append((word, f"{moment(first['time'])}, to step {last['step']:,} by {moment(last['time'])}: {why}"))
    rows.append(
        ("data", ", ".join(f"{name} {record[name]}" for name in ("name", "count", "content") if name in record))
    )
    return table([[f"<b>{text(name)}</b>", text(value)] for name, value in [*rows, *about(course.about)]])


def options(course: Course) -> str:
    """All options of the run, folded."""
    given = {name: value for name, value in course.options.items() if value is not None}
    rows = [[f"--{text(name.replace('_', '-'))}", text(value)] for name, value in given.items()]
    return f"<details><summary>Options</summary>{table(rows)}</details>"
