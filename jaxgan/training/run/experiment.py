"""Where the experiment of a run comes from that is opened: a run directory is data, and no code is executed because its
record names it."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jaxgan
from jaxgan.printable import printable, shortened
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.gan import Build

__all__ = ["Experiment", "experiment_named", "experiment_of", "fitting", "load_experiment"]

PACKAGE = Path(str(jaxgan.__file__)).resolve().parent.parent / "experiments"  # beside jaxgan, wherever that lies
LONGEST = 1000  # characters of an error that quotes a record


class Experiment(NamedTuple):
    """What makes a GAN of options and data, and the class of the options."""

    build: Build
    options_type: type[Options]


def experiment_of(given: Build | ModuleType) -> Experiment:
    """Returns the experiment of a module, or of a function that is its `build`: `Options` are those of the function's
    module. UsageError where one of them is missing."""
    if isinstance(given, ModuleType):
        module, build = given, vars(given).get("build")
    else:
        build, found = given, sys.modules.get(getattr(given, "__module__", ""))
        if found is None:
            raise UsageError(f"{shortened(given)} is of no module; give the experiment's module, or its build")
        module = found
    options_type = vars(module).get("Options")  # not by getattr, which may import what is not there
    right = isinstance(options_type, type) and issubclass(options_type, Options), callable(build)
    missing = [name for name, there in zip(("Options", "build"), right, strict=True) if not there]
    if missing or build is None or options_type is None:
        raise UsageError(f"{shortened(module.__name__)} is no experiment: it has no {' and no '.join(missing)}")
    return Experiment(build, options_type)


def experiment_named(name: str) -> Experiment | None:
    """Returns the experiment of this name, as a record has it, where executing it is not up to who wrote the name:
    that of a module that this process has imported, or of a file of the package `experiments` that lies beside jaxgan.
    None for any other. UsageError where such a module is no experiment, or can't be imported."""
    module = _imported(name) or _packaged(name)
    return experiment_of(module) if module else None


def _imported(name: str) -> ModuleType | None:
    """Returns the module of this name, or of the file of this path, that was imported before or is the program."""
    main = sys.modules["__main__"]
    if main.__spec__ and main.__spec__.name == name:
        return main
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    by_name = sys.modules.get(name)
    if isinstance(by_name, ModuleType):
        return by_name
    if not name.endswith(".py"):
        return None
    files = ((module, vars(module).get("__file__")) for module in modules)
    alike = ((module, file) for module, file in files if isinstance(file, str) and Path(file).name == Path(name).name)
    return next((module for module, file in alike if os.path.realpath(file) == name), None)


def _packaged(name: str) -> ModuleType | None:
    """Imports a module of `experiments` from where jaxgan is, wherever else Python would find a package of that name.
    None for one that isn't there."""
    found = re.fullmatch(r"experiments\.([A-Za-z]\w*)", name, re.ASCII)
    if not found or not (PACKAGE / f"{found[1]}.py").is_file():
        return None
    package = sys.modules.get("experiments")
    if package is None:
        package = _executed("experiments", PACKAGE / "__init__.py", [str(PACKAGE)])
    elif str(PACKAGE) not in map(os.path.realpath, getattr(package, "__path__", [])):
        raise UsageError(f"{name} is one of {PACKAGE}, but another package `experiments` is imported here")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"{name} can't be imported: {_told(error)}") from error


def load_experiment(text: str) -> ModuleType:
    """Executes what a user names: a .py file, as `python FILE` would, or a module by the name that `python -m` takes.
    UsageError, in a line, where there is none, or however it fails."""
    path = Path(text).expanduser()
    try:
        if path.suffix != ".py":
            if not all(part.isidentifier() for part in text.split(".")):
                raise UsageError(f"--experiment {shortened(text)} is neither a .py file nor a module")
            return importlib.import_module(text)
        if not path.is_file():
            raise UsageError(f"--experiment {shortened(text)} is no file")
        path = path.resolve()
        if (folder := str(path.parent)) not in sys.path:
            sys.path.insert(0, folder)  # where it has its own modules
        return _imported(str(path)) or _executed(str(path), path)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UsageError(f"--experiment {shortened(text)} can't be loaded: {_told(error, path)}") from error


def _executed(name: str, path: Path, folders: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(error: BaseException, path: Path | None = None) -> str:
    """Returns an error in a line: its type, the first line of what it says, and at which line of the file at `path`."""
    if isinstance(error, SystemExit):
        said = 'it ends the program; what it runs must stand under `if __name__ == "__main__":`'
    else:
        said = f"{type(error).__name__}: {shortened(next(iter(str(error).splitlines()), ''))}".removesuffix(": ")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = []  # it says so itself
    return f"{said} (line {lines[-1]})" if lines else said


@contextlib.contextmanager
def fitting(what: str) -> Iterator[None]:
    """Raises UsageError, which says of `what` record they are, where options or data of a record are such that the
    experiment can't be built. A KeyboardInterrupt passes."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{what}: {printable(str(error)[:LONGEST])}") from error
    except Exception as error:  # of networks that no run had, jax's own errors included
        raise UsageError(f"{what}: {_told(error)}") from error
