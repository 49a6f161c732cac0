"""What a run's record says of each of its sessions: when, by which command, with which code, on which machine."""

import datetime
import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import jaxgan
from jaxgan.training.options.options import name_of
from jaxgan.training.recipe.gan import Build
from jaxgan.versions import versions

__all__ = ["commit_of", "session_now"]

PACKAGES = ("jaxgan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
PATIENCE = 10.0  # seconds for git, which may have to look at a large checkout on a slow disk


def session_now(build: Build, step: int, devices: Sequence[jax.Device], began: str | None = None) -> dict[str, Any]:
    """Returns what JSON can hold of a session that begins now, at `step`, on these devices. began: with what of another
    run.

    "time" is UTC, "command" as it was typed. "commits" has by name, for jaxgan and for the experiment where that lies
    in another repository, what `commit_of` says; nothing for code that no repository has."""
    module = sys.modules.get(build.__module__)
    files = {"jaxgan": jaxgan.__file__, name_of(build): getattr(module, "__file__", None)}
    found = {name: commit_of(file) for name, file in files.items() if file}
    own = found.pop("jaxgan")
    commits = {"jaxgan": own, **{name: commit for name, commit in found.items() if commit != own}}
    return {
        "step": step,
        **({"began": began} if began else {}),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "versions": {"python": platform.python_version(), **versions(*PACKAGES)},
        "commits": {name: commit for name, commit in commits.items() if commit},
        "machine": {
            "platform": platform.platform(),
            "device": devices[0].device_kind,
            "devices": len(devices),
            "processes": jax.process_count(),
        },
    }


@functools.cache  # the code that was loaded is that of the first call, whatever becomes of the checkout
def commit_of(file: str) -> dict[str, Any] | None:
    """Returns the "commit" of the repository that has this file under version control, and whether it was "changed"
    since; None where git knows nothing of the file, as of an installed package in a folder of some repository."""
    path = Path(file).resolve()
    if _git(path.parent, "ls-files", "--error-unmatch", path.name) is None:
        return None
    said = _git(path.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    if not said:
        return None
    return {"commit": said.removesuffix("-dirty"), "changed": said.endswith("-dirty")}


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns what git says in a folder, None where it fails or isn't there."""
    program = shutil.which("git")
    if program is None:
        return None
    command = [program, "-C", str(folder), "--no-optional-locks", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as a hook has
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            command, env=environment, capture_output=True, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()
