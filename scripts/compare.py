"""Puts the scores of several runs side by side, where they were made alike.

    python -m scripts.compare RUN RUN ...
    python -m scripts.compare RUN RUN --key fid --out fid.png

It reads what `python -m scripts.evaluate` and --eval-every have written to each run's evaluations.jsonl, and ranks
numbers of one protocol only: metric and version, features and the hash of their weights, resize, rounding, numbers of
samples and of real images, the real images themselves, averaged or raw weights. Numbers of other protocols are listed
with what differs. Of a run with several GANs it shows the mean ± standard deviation.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxgan.files import atomic_write
from jaxgan.nearest import perhaps
from jaxgan.printable import printable
from jaxgan.terminal import align_columns, say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, shown, writing
from jaxgan.training.reporting.comparison import Line, heading, lines_of, ranked

LABEL = 40  # characters of a run's path in a plot


@dataclasses.dataclass(frozen=True)
class Options:
    runs: Positional[tuple[Path, ...]]
    """Run directories, at least two."""
    key: str | None = None
    """Only this score, such as fid or recall; by default all that the runs have."""
    out: Path | None = None
    """File for a plot of the scores that are ranked, .png."""

    def __post_init__(self) -> None:
        require_file(self, "out", ".png")


def plot(path: Path, groups: Sequence[Sequence[Line]]) -> None:
    """A panel a score, a bar a run with its standard deviation over GANs."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(7, 1 + len(groups) + 0.35 * sum(map(len, groups))), layout="constrained")
    sizes = [len(group) + 1.5 for group in groups]
    for axes, group in zip(figure.subplots(len(groups), squeeze=False, height_ratios=sizes)[:, 0], groups, strict=True):
        stds = [line.std or 0.0 for line in group]
        axes.barh(range(len(group)), [line.mean for line in group], xerr=stds, color="tab:blue")
        axes.set_yticks(range(len(group)), [_label(line.run) for line in group])
        axes.invert_yaxis()  # the best on top
        axes.set_title(heading(group).replace(": ", "\n", 1), fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    with writing(path), atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def run(options: Options) -> None:
    runs = list(dict.fromkeys(options.runs))
    if len(runs) < 2:
        raise UsageError(f"two runs or more are compared, got {len(runs)}")
    lines = [line for directory in runs for line in lines_of(directory)]
    keys = list(dict.fromkeys(line.protocol["key"] for line in lines))
    if options.key is not None and options.key not in keys:
        raise UsageError(f"--key {shown(options.key)}: the runs have {', '.join(keys)}{perhaps(options.key, keys)}")
    groups, others = ranked(lines, keys if options.key is None else [options.key])
    if not groups:
        why = others[0] if others else f"they have no score in common ({', '.join(keys)})"
        raise UsageError(f"nothing to compare: {why}; score the runs alike with python -m scripts.evaluate")
    for group in groups:
        say(heading(group))
        rows = [[str(line.run), line.text, f"step {line.step}", _gans(len(line.values))] for line in group]
        say(*align_columns(rows), "")
    say(*others)
    if options.out:
        plot(options.out, groups)
        say(options.out)


def _label(run: Path) -> str:
    """Returns the end of a run's path, which leaves room for the bars, without what would begin a formula."""
    name = printable(run)
    return (name if len(name) <= LABEL else f"…{name[1 - LABEL :]}").replace("$", r"\$")


def _gans(count: int) -> str:
    return f"{count} GANs" if count > 1 else ""


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options, renamed={"--plot": "--out FILE.png"}))
