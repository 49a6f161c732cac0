"""Writes a report of runs: one HTML file with all that one asks of a run, which needs no network.

    python -m scripts.report RUN                    RUN/report.html
    python -m scripts.report RUN RUN --out FILE     several, side by side

What became of it (learning, converged, collapsed, diverged, and by which sign), the fixed latents' pictures, losses,
gradients and scores with their protocols, the training images that are nearest to samples, and where the run came from.
Every run writes its own as it is trained; this command also looks for copies, which a run does at its end. Scores of
several runs are ranked where they were made alike, as `python -m scripts.compare` does. A run that is trained still may
be looked at.
"""

import dataclasses
from pathlib import Path

from jaxgan.data import DataError
from jaxgan.files import atomic_write
from jaxgan.terminal import say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, writing
from jaxgan.training.reporting.copies import SAMPLES, look_for_copies
from jaxgan.training.reporting.page import FILE, page
from jaxgan.training.run.directory import Run
from scripts.checkpoint_options import MemberOptions, data_of, open_checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(MemberOptions):
    runs: Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path | None = None
    """The report, .html; of one run by default RUN/report.html, of several ./report.html."""
    data_dir: str | None = None
    """Folder of TFDS's data sets, for the nearest training images; by default the run's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".html")


def look(directory: Path, options: Options) -> None:
    """Looks for copies among a run's samples, and says so where that can't be done: the report is whole without."""
    try:
        run = open_checkpoint(directory, options)
        drawing = run.drawing
        if drawing.medium(drawing.main).kind != "image":
            return
        number = len(run.members) or 1
        drawn = run.sample(-(-SAMPLES // number), weights=run.named_weights(options.weights))
        images = drawn.swapaxes(0, 1).reshape(-1, *drawn.shape[2:]) if run.members else drawn
        why = look_for_copies(directory, run.step, images, data_of(run).of(drawing.main))
    except (UsageError, DataError, OSError) as error:
        why = str(error)
    if why:
        say(f"{directory}: no nearest training images: {why}", error=True)


def run(options: Options) -> None:
    runs = list(dict.fromkeys(options.runs))
    for directory in runs:
        if Run(directory).record() is None:
            raise UsageError(f"{directory} is no run directory: it has no options.json")
    for directory in runs:
        look(directory, options)
    out = options.out or (runs[0] / FILE if len(runs) == 1 else Path(FILE))
    html = page(runs)
    with writing(out), atomic_write(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    say(out)


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
