"""The check that every public name has a docstring and a place in the reference."""

import importlib
import pkgutil
from collections.abc import Iterator

import jaxgan
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

# Of these packages public is what they export themselves; of all others what the `__all__` of each module names.
HOST = ("jaxgan.data", "jaxgan.evaluation", "jaxgan.media", "jaxgan.training")
# What all rooms of the host share is no user's concern.
INNER = ("jaxgan.files", "jaxgan.nearest", "jaxgan.printable", "jaxgan.terminal", "jaxgan.versions")


def public_names() -> Iterator[tuple[str, str, str]]:
    """Public names, as the module that exports it, the name, and where it is from: `jaxgan.losses.hinge`."""
    modules = ["jaxgan", *(module.name for module in pkgutil.walk_packages(jaxgan.__path__, "jaxgan."))]
    for module in modules:
        if module in INNER or module.startswith(tuple(f"{host}." for host in HOST)):
            continue
        exporting = importlib.import_module(module)
        for name in getattr(exporting, "__all__", ()):
            value = getattr(exporting, name)
            origin = getattr(value, "__module__", None) or module
            if hasattr(value, "__path__") or type(value).__name__ == "module":
                yield module, name, value.__name__
            elif str(origin).startswith("jaxgan") and hasattr(value, "__qualname__"):
                yield module, name, f"{origin}.{value.__qualname__}"
            else:
                yield module, name, f"{module}.{name}"


def _check(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Warns of names that have no place. autodoc leaves out what has no docstring, and so has that none either."""
    domain = env.get_domain("py")
    known = set(domain.objects)
    for module, name, origin in public_names():
        if not {f"{module}.{name}", origin} & known:
            logging.getLogger(__name__).warning(
                "%s.%s is public, but has no docstring or no place in docs/reference", module, name, type="public_names"
            )
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("env-updated", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
