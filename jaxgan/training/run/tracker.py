"""`--log wandb` and `--log trackio`: a run's metrics and pictures at Weights & Biases or in trackio, which have one
interface."""

import dataclasses
import hashlib
import importlib
import os
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from jaxgan.printable import first_line, shortened
from jaxgan.terminal import say
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import Options
from jaxgan.training.output.log import last_step
from jaxgan.training.run.directory import Run, short_name

__all__ = ["Tracker", "check_tracker", "tracker_of"]


def check_tracker(options: Options) -> None:
    """Raises UsageError where the package that `--log` names can't be imported."""
    if options.log:
        _package(options.log)


def _package(name: str) -> ModuleType:
    reason = "it isn't installed"
    try:
        package = importlib.import_module(name)
        if hasattr(package, "init"):  # a folder of that name, as wandb makes, is a package without anything
            return package
    except ModuleNotFoundError as error:
        reason = reason if error.name == name else str(error)
    except Exception as error:  # noqa: BLE001 - others' code, which may be broken in any way
        reason = f"it can't be imported: {_reason(error)}"
    raise UsageError(f"--log {name} needs the package {name} ({reason}): pip install {name}")


def tracker_of(options: Options, run: Run, before: Mapping[str, Any] | None, done: int) -> "Tracker | None":
    """Returns where `--log` sends what comes after step `done`; None without it. run: has its record already; before:
    what that was before this session, None for a new run. UsageError where the package begins no run, as without
    having logged in."""
    if not options.log:
        return None
    if before is None:
        done -= 1  # the picture of the step that a run begins with is sent too
    elif before["options"].get("log") == options.log:
        # What a kill has taken back after the last checkpoint was sent, and is computed again with the same bits.
        done = max(done, last_step(run.directory))
    record = run.record() or {}
    about = {"experiment": record["experiment"], **dataclasses.asdict(options)}
    return Tracker(options.log, _name(run, record), about, str(run.directory), done)


def _name(run: Run, record: Mapping[str, Any]) -> str:
    """Returns a name that this run alone has, also among those that had its directory before, and keeps."""
    begun = str(record["sessions"][0].get("time"))
    digest = hashlib.sha256(begun.encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run.directory.resolve().name)}-{digest}"


class Tracker:
    """A run in the project $WANDB_PROJECT, by default jaxgan; what was sent up to step `done` isn't sent again. The
    training goes on, with a warning, when something can't be sent."""

    def __init__(self, package: str, name: str, about: Mapping[str, Any], directory: str, done: int) -> None:
        self.package, self.done, self.failed = _package(package), done, False
        how: dict[str, Any] = {"project": os.environ.get("WANDB_PROJECT", "jaxgan"), "name": name, "resume": "allow"}
        how |= {"group": short_name(about["experiment"]), "config": dict(about)}
        if package == "wandb":  # whose copies of what is printed would be made of the progress bar
            how |= {"id": name, "dir": directory, "settings": self.package.Settings(console="off")}
        else:
            how |= {"embed": False}
        try:
            self.package.init(**how)
        except Exception as error:
            raise UsageError(f"--log {package}: no run could be begun there: {_reason(error)}") from error

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Sends numbers by name, those that are there."""
        there = {name: value for name, value in values.items() if value is not None}
        self._try(lambda: self.package.log(there, step=step), step)

    def image(self, step: int, grid: np.ndarray) -> None:
        """Sends a grid of samples, uint8 `[H, W, C]`, in colour where C is 3 and otherwise in grey."""
        shown = grid if grid.shape[-1] == 3 else np.repeat(grid[..., :1], 3, axis=-1)
        self._try(lambda: self.package.log({"samples": self.package.Image(shown)}, step=step), step)

    def close(self) -> None:
        """Sends what is left, and waits for it."""
        self._try(self.package.finish)

    def _try(self, call: Callable[[], object], step: int | None = None) -> None:
        if self.failed or (step is not None and step <= self.done):
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - no reason is good enough to end a training
            self.failed = True
            say(f"warning: nothing more is sent to {self.package.__name__}: {_reason(error)}", error=True)


def _reason(error: Exception) -> str:
    return shortened(first_line(error))
