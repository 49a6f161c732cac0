"""A run directory: its record of experiment, options and data, written, checked and read."""

import dataclasses
import itertools
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan import __version__
from jaxgan.printable import shortened
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import check_names
from jaxgan.training.options.options import Options, differing, name_of, of_record
from jaxgan.training.options.record import read_record
from jaxgan.training.output.log import last_step, write_json
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Build
from jaxgan.training.run.experiment import Experiment, experiment_named, fitting
from jaxgan.training.run.folder import refuse_links, refuse_others, writing_run

__all__ = ["Run", "new_directory", "short_name"]


class Run:
    """`options.json`, `metrics.jsonl`, `tensorboard/`, `samples/`, `training.gif`, `losses.png` and `checkpoints/` in a
    directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "options.json"

    def record(self) -> dict[str, Any] | None:
        """Reads options.json, see `read_record`; None where there is no run. UsageError where it is no record."""
        try:
            return read_record(self.path)
        except (FileNotFoundError, NotADirectoryError):
            if list((self.directory / "checkpoints").glob("[0-9]*")):
                raise UsageError(
                    f"{self.directory} has checkpoints but no options.json; restore it or choose another --workdir"
                ) from None
            return None
        except ValueError as error:
            raise UsageError(
                f"{self.path} is not a run's record: {error}; restore it or choose another --workdir"
            ) from None

    def fitted(self, record: dict[str, Any], build: Build, options_type: type[Options]) -> dict[str, Any]:
        """Returns this run's record with its options as in `options_type`, see `of_record`. UsageError where it is of
        another experiment than `build`, or has options of other types."""
        if record["experiment"] != name_of(build):
            raise self._other([f"experiment {name_of(build)} (the run has {shortened(record['experiment'])})"])
        with fitting(self._whose(record)):
            return {**record, "options": of_record(options_type, record["options"])}

    def _whose(self, record: Mapping[str, Any]) -> str:
        return f"{self.path} doesn't fit {shortened(record['experiment'])} as it is now"

    def _other(self, wrong: Sequence[str]) -> UsageError:
        return UsageError(
            f"{self.directory} holds a run with other options: {'; '.join(wrong)}. "
            "Give the same options to continue it, or another --workdir"
        )

    def make(self) -> None:
        """Makes the directory where it isn't there yet. UsageError, before anything is written, where it is not the
        run's own or has links in it."""
        with writing_run(self.directory):
            if not self.path.exists():
                refuse_others(self.directory)
            refuse_links(self.directory)
            (self.directory / "samples").mkdir(parents=True, exist_ok=True)

    def check(self, build: Build, options: Options, data: DataSpec, frozen: Mapping[str, str]) -> None:
        """Checks what is asked for now against the record, where there is one. `frozen`: networks' digests by name."""
        before = self.record()
        if before is None:
            return
        before = self.fitted(before, build, type(options))
        wrong = differing(options, before["options"])
        facts, known = data.facts(), self.described(before).facts()
        for name in dict.fromkeys((*facts, *known)):
            if facts.get(name) != known.get(name):
                was = shortened(known.get(name, "none"))
                wrong.append(f"{shortened(name)} of the data {facts.get(name, 'none')} (the run has {was})")
        for name in dict.fromkeys((*frozen, *before["frozen"])):
            if (now := frozen.get(name, "none")) != (was := before["frozen"].get(name, "none")):
                whose = f"the frozen network {shortened(name)} with the digest {now[:12]}"
                wrong.append(f"{whose} (the run has {shortened(was[:12])})")
        if wrong:
            raise self._other(wrong)

    def described(self, record: dict[str, Any]) -> DataSpec:
        """Returns the description of the data in this run's record. UsageError where it has none, or no such."""
        try:
            return DataSpec.from_record(record["data"])
        except UsageError as error:
            raise UsageError(f"{self.path} has no description of data: {error}; restore it") from None

    def write(
        self, build: Build, options: Options, data: DataSpec, frozen: Mapping[str, str], session: Mapping[str, Any]
    ) -> None:
        """Writes the record, in which this session comes after those that it has. `frozen`: networks' digests by name.
        `session`: see `session_now`."""
        before = self.record()
        record: dict[str, Any] = {
            "jaxgan": __version__,
            "experiment": name_of(build),
            "options": dataclasses.asdict(options),
            "data": data.record(),
            **({"frozen": dict(frozen)} if frozen else {}),
            "sessions": [*(before["sessions"] if before else ()), dict(session)],
        }
        with writing_run(self.directory):
            write_json(self.path, record)

    def refuse_to_begin_again(self, before: dict[str, Any]) -> None:
        """Raises UsageError where the run, which had these options, has no checkpoint, but must have had one: it was
        put aside, or lost."""
        with writing_run(self.directory):
            logged = last_step(self.directory)
        began = step if isinstance(step := before.get("step"), int) else 0  # with another run's state
        began = 0 if before.get("players") else began  # with networks of it alone
        # A checkpoint is whole, at the latest, before the next but one is begun.
        if logged > began + 2 * before["checkpoint_every"] or (self.directory / "damaged").exists():
            raise UsageError(
                f"{self.directory} was trained to step {logged} at least, but has no checkpoint any more; "
                "bring back a copy of one, or choose another --workdir to start again"
            )

    def experiment(self, given: Experiment | None = None) -> tuple[Build, Options, DataSpec]:
        """Returns the run's build function, options and data, for those who only have the directory. given: the
        experiment, instead of the one that the record names. UsageError where that is not at hand, see
        `experiment_named`, or the record doesn't fit it."""
        record = self.record()
        if record is None:
            raise UsageError(f"{self.directory} is no run directory: it has no options.json")
        name = shortened(record["experiment"])
        with fitting(f"{self.path} names the experiment {name}"):
            found = given or experiment_named(record["experiment"])
        if found is None:
            typed = shlex.quote(name) if re.fullmatch(r".*\.py|[A-Za-z]\w*(\.\w+)*", name) else "FILE.py"
            raise UsageError(
                f"{self.path} names the experiment {name}, which is none of jaxgan's: opening a run executes no code "
                f"that it names. If you trust it, add --experiment {typed}, or in Python `open(RUN, build=MODULE)`"
            )
        with fitting(self._whose(record)):
            check_names(found.options_type, record["options"])
            options = found.options_type(**record["options"])
        return found.build, options, self.described(record)


def short_name(experiment: str) -> str:
    """Returns the last part of an experiment's name, which is a module's or that of a file."""
    return Path(experiment).stem if experiment.endswith(".py") else experiment.rpartition(".")[2]


def new_directory(name: str) -> Path:
    """Makes a directory for the run at once, lest another run that starts now takes it too."""
    short = short_name(name)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path("runs") / f"{short}-{stamp}"
    for number in itertools.count(2):
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError as error:
            if not os.path.lexists(path):
                raise UsageError(f"can't make run directory {path}: {error.filename} is no folder") from None
            path = path.with_name(f"{short}-{stamp}-{number}")
        except OSError as error:
            raise UsageError(f"can't make run directory {path}: {error.strerror}; choose a --workdir") from None
    return path
