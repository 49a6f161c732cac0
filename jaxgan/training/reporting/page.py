"""A report: one HTML file on one run or several, which needs nothing from elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from jaxgan.files import atomic_write
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.reporting.comparison import heading, lines_of, ranked
from jaxgan.training.reporting.course import Course, read_course
from jaxgan.training.reporting.frames import MOST
from jaxgan.training.reporting.markup import section, soft, table, text
from jaxgan.training.reporting.scored import score_charts
from jaxgan.training.reporting.sections import article, verdict_on
from jaxgan.training.reporting.style import SCRIPT, STYLE

__all__ = ["FILE", "page", "refresh"]

FILE = "report.html"
FEWEST = 6  # pictures of each of many runs
# Nothing is loaded, whatever a run's record may say.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(directories: Sequence[Path]) -> str:
    """Returns the report on the runs in these directories, as HTML. UsageError for what holds no run."""
    courses = [read_course(directory) for directory in directories]
    if len(courses) == 1:
        return _document(courses[0].directory.name, article(courses[0]))
    each = max(FEWEST, MOST // len(courses))
    runs = "".join(f"<article>{article(course, each)}</article>" for course in courses)
    return _document(f"{len(courses)} runs", f'{_overview(courses)}<div class="runs">{runs}</div>')


def refresh(directory: Path) -> None:
    """Writes `report.html` in a run directory. OSError where it can't be written; UsageError for what holds no run."""
    html = page([directory])
    with atomic_write(directory / FILE, synced=False) as temporary:  # it can be made again
        temporary.write_text(html, encoding="utf-8")


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _overview(courses: Sequence[Course]) -> str:
    """The runs' verdicts side by side, and their scores, ranked where they were made alike."""
    rows = []
    for course in courses:
        verdict = verdict_on(course)
        said = f"<b>{verdict.state}</b> {soft(verdict.sign)}"
        rows.append([text(course.directory), text(course.record["experiment"]), f"{course.step:,}", said])
    scores = section("Scores side by side", _ranking(courses), score_charts(courses))
    return f"<h1>{len(courses)} runs</h1>{table(rows, ('run', 'experiment', 'step', 'verdict'))}{scores}"


def _ranking(courses: Sequence[Course]) -> str:
    lines, without = [], []
    for course in courses:
        try:
            lines += lines_of(course.directory)
        except UsageError:
            without.append(f"{course.directory} has no scores yet")
    groups, others = ranked(lines, list(dict.fromkeys(line.protocol["key"] for line in lines)))
    rows = []
    for group in groups:
        for number, line in enumerate(group):
            what = "" if number else text(heading(group))
            rows.append([what, text(line.run), f"<b>{text(line.text)}</b>", f"{line.step:,}"])
    found = table(rows, ("score, the best first", "run", "value", "step"))
    found = found or "<p>Nothing can be ranked: no score of two runs was made alike.</p>"
    return "".join([found, *(f"<p>{soft(each)}</p>" for each in (*others, *without))])
