"""A run directory: its record of experiment, options and data, written, checked and read."""

import contextlib
import dataclasses
import importlib
import importlib.util
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgan import __version__
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import Options, as_named_now, differing, name_of
from jaxgan.training.output.log import last_step, write_json
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Build
from jaxgan.training.run.folder import refuse_links, refuse_others

__all__ = ["Run", "new_directory"]


class Run:
    """`options.json`, `metrics.jsonl`, `tensorboard/`, `samples/`, `training.gif` and `checkpoints/` in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "options.json"

    def record(self) -> dict[str, Any] | None:
        """Reads options.json: `experiment`, `options` by today's names, and `data`; None where there is no run."""
        try:
            record = json.loads(self.path.read_text())
            return {
                "experiment": record["experiment"],
                "options": as_named_now(dict(record["options"])),
                "data": dict(record["data"]),
                "frozen": dict(record.get("frozen", {})),
            }
        except (FileNotFoundError, NotADirectoryError):
            if list((self.directory / "checkpoints").glob("[0-9]*")):
                raise UsageError(
                    f"{self.directory} has checkpoints but no options.json; restore it or choose another --workdir"
                ) from None
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.path} is not a run's record ({error!r}); restore it or choose another --workdir"
            ) from None

    def make(self) -> None:
        """Makes the directory where it isn't there yet. UsageError, before anything is written, where it is not the
        run's own or has links in it."""
        with self.writing():
            if not self.path.exists():
                refuse_others(self.directory)
            refuse_links(self.directory)
            (self.directory / "samples").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Raises UsageError where the directory can't be written in, or looked at."""
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"can't write in run directory {self.directory}: {error.strerror}; choose another --workdir"
            ) from None

    def check(self, build: Build, options: Options, data: DataSpec, frozen: Mapping[str, str]) -> None:
        """Checks what is asked for now against the record, where there is one. `frozen`: networks' digests by name."""
        before = self.record()
        if before is None:
            return
        wrong = differing(options, before["options"])
        if name_of(build) != before["experiment"]:
            wrong.append(f"experiment {name_of(build)} (the run has {before['experiment']})")
        facts, known = data.facts(), self._described(before).facts()
        for name in dict.fromkeys((*facts, *known)):
            if facts.get(name) != known.get(name):
                was = known.get(name, "none")
                wrong.append(f"{name} of the data {facts.get(name, 'none')} (the run has {was})")
        for name in dict.fromkeys((*frozen, *before["frozen"])):
            if (now := frozen.get(name, "none")) != (was := before["frozen"].get(name, "none")):
                wrong.append(f"the frozen network {name} with the digest {now[:12]} (the run has {was[:12]})")
        if wrong:
            raise UsageError(
                f"{self.directory} holds a run with other options: {'; '.join(wrong)}. "
                "Give the same options to continue it, or another --workdir"
            )

    def _described(self, record: dict[str, Any]) -> DataSpec:
        try:
            return DataSpec.from_record(record["data"])
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.path} has no description of data ({error!r}); restore it") from None

    def write(self, build: Build, options: Options, data: DataSpec, frozen: Mapping[str, str]) -> None:
        """Writes the record. `frozen`: networks' digests by name."""
        record = {
            "jaxgan": __version__,
            "experiment": name_of(build),
            "options": dataclasses.asdict(options),
            "data": data.record(),
        } | ({"frozen": dict(frozen)} if frozen else {})
        with self.writing():
            write_json(self.path, record)

    def refuse_to_begin_again(self, before: dict[str, Any]) -> None:
        """Raises UsageError where the run, which had these options, has no checkpoint, but must have had one: it was
        put aside, or lost."""
        with self.writing():
            logged = last_step(self.directory)
        began = before.get("step") or 0  # with another run's state
        # A checkpoint is whole, at the latest, before the next but one is begun.
        if logged > began + 2 * before["checkpoint_every"] or (self.directory / "damaged").exists():
            raise UsageError(
                f"{self.directory} was trained to step {logged} at least, but has no checkpoint any more; "
                "bring back a copy of one, or choose another --workdir to start again"
            )

    def experiment(self) -> tuple[Build, Options, DataSpec]:
        """Returns the run's build function, options and data, for those who only have the directory."""
        record = self.record()
        if record is None:
            raise UsageError(f"{self.directory} is no run directory: it has no options.json")
        module = _load(record["experiment"])
        try:
            return module.build, module.Options(**record["options"]), self._described(record)
        except TypeError as error:
            raise UsageError(f"{self.path} doesn't fit {record['experiment']} as it is now: {error}") from None


def new_directory(name: str) -> Path:
    """Makes a directory for the run at once, lest another run that starts now takes it too."""
    short = Path(name).stem if name.endswith(".py") else name.rpartition(".")[2]
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


def _load(name: str) -> Any:
    """Imports the experiment's module. UsageError where it can't be imported or has no `Options` and `build`."""
    try:
        if name.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise ImportError(name)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UsageError(
            f"the run's experiment {name!r} can't be loaded ({error}); call this from the folder that holds it"
        ) from None
    missing = [needed for needed in ("Options", "build") if not hasattr(module, needed)]
    if missing:
        raise UsageError(f"the run's experiment {name!r} has no {' and no '.join(missing)}")
    return module
