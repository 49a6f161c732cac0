"""What a run says of itself as it is trained: `history.jsonl`, and `report.html`, which is made anew at each
checkpoint."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxgan.printable import first_line
from jaxgan.terminal import say
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.output.history import History
from jaxgan.training.reporting.copies import SAMPLES, copies_of, look_for_copies
from jaxgan.training.reporting.page import refresh
from jaxgan.training.scoring.real_data import RealData
from jaxgan.training.scoring.signs import signs_for

__all__ = ["Reporter"]


class Reporter:
    """Writes a run's history and report, in the first of its processes. still_there: raises where the directory's name
    leads elsewhere by now.

    No run ends for want of a report: what goes wrong is told once in a line, but for OSError from the history, which is
    one of the run's own files."""

    def __init__(
        self, directory: Path, drawing: Drawing, real: RealData, members: int, still_there: Callable[[], None]
    ) -> None:
        self.directory, self.drawing, self.members, self.still_there = directory, drawing, members, still_there
        self.real = real.of(drawing.main)
        self.history = History(directory)
        self.faults: set[str] = set()
        self.signs = None
        with self._harmless("no signs of its health in the report"):
            self.signs = signs_for(self.real)

    def began(self, step: int) -> None:
        self.history.note("began", step)

    def drawn(self, step: int, drawn: Mapping[str, np.ndarray], *, by_turns: bool = False) -> None:
        """Notes what was drawn at a step, and what it shows of each GAN's health. by_turns: classes took turns."""
        signs = []
        with self._harmless("no signs of its health in the report"):
            signs = [self.signs(each, by_turns=by_turns) for each in self._of_each(drawn)] if self.signs else []
        self.history.note("drawn", step, signs=signs)

    def saved(self, step: int) -> None:
        """Notes a checkpoint, and makes the report anew."""
        self.history.note("saved", step)
        self.refresh()

    def ended(self, step: int, why: str) -> None:
        """Notes the end of this process's share, and makes the report anew; nothing is raised."""
        with self._harmless("the end isn't in the report"):
            self.still_there()
            self.history.note("ended", step, why=why)
            self.refresh()

    def look_for_copies(self, step: int, drawn: Mapping[str, np.ndarray]) -> None:
        """Looks for the training images that are nearest to what was drawn, an equal number of each GAN's."""
        with self._harmless("no nearest training images in the report"):
            each = -(-SAMPLES // max(1, self.members))
            samples = np.concatenate([part[:each] for part in self._of_each(drawn)])
            look_for_copies(self.directory, step, samples, self.real)

    def has_looked_for_copies(self, step: int) -> bool:
        found = copies_of(self.directory)
        return found is not None and found[1].startswith(f"Step {step:,}:")

    def refresh(self) -> None:
        with self._harmless("no new report"):
            refresh(self.directory)

    def _of_each(self, drawn: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        array = drawn[self.drawing.main]
        return list(array) if self.members else [array]

    @contextlib.contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a report is no reason to lose what was trained
            if what not in self.faults:
                say(f"warning: {what} ({first_line(error)}); the run goes on without", error=True)
            self.faults.add(what)
