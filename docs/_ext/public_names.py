"""The check that every public name has a docstring and a place in the reference."""

import ast
import importlib
import inspect
import itertools
import pkgutil
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jaxgan

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# Of these packages public is what they export themselves; of all others what the `__all__` of each module names.
HOST = ("jaxgan.data", "jaxgan.evaluation", "jaxgan.media", "jaxgan.training")
# What all rooms of the host share is no user's concern.
INNER = ("jaxgan.files", "jaxgan.nearest", "jaxgan.printable", "jaxgan.terminal", "jaxgan.versions")


def public_names() -> Iterator[tuple[str, str]]:
    """Public names, each with the module that exports it."""
    for module in ["jaxgan", *(found.name for found in pkgutil.walk_packages(jaxgan.__path__, "jaxgan."))]:
        if module not in INNER and not module.startswith(tuple(f"{host}." for host in HOST)):
            yield from ((module, name) for name in getattr(importlib.import_module(module), "__all__", ()))


def origin(module: str, name: str) -> tuple[str, bool]:
    """Where a public name is from, `jaxgan.losses.hinge`, and whether it has a docstring there."""
    value = getattr(sys.modules[module], name)
    if isinstance(value, types.ModuleType):
        return value.__name__, bool(value.__doc__)
    if str(getattr(value, "__module__", None)).startswith("jaxgan") and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}", bool(value.__doc__)
    home = _home(module, name, value)
    return f"{home}.{name}", name in _described(home)


def _home(package: str, name: str, value: Any) -> str:
    """The module of a package that a value which doesn't know comes from, such as another name of a type."""
    path = getattr(sys.modules[package], "__path__", ())
    inside = (importlib.import_module(found.name) for found in pkgutil.walk_packages(path, f"{package}."))
    theirs = (each for each in inside if name in getattr(each, "__all__", ()) and vars(each)[name] is value)
    return next((_home(each.__name__, name, value) for each in theirs), package)


def _described(module: str) -> Iterator[str]:
    """The names of a module below whose assignment a string stands."""
    for above, below in itertools.pairwise(ast.parse(inspect.getsource(sys.modules[module])).body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            targets = getattr(above, "targets", [getattr(above, "target", None)])
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _check(app: "Sphinx", env: "BuildEnvironment") -> list[str]:
    from sphinx.util import logging

    warn, known = logging.getLogger(__name__).warning, set(env.get_domain("py").objects)
    for module, name in public_names():
        home, documented = origin(module, name)
        if not documented:
            warn("%s is public and has no docstring", home, type="public_names")
        elif not {f"{module}.{name}", home} & known:
            warn("%s.%s is public and has no place in docs/reference", module, name, type="public_names")
    return []


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("env-updated", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
