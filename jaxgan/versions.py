"""Versions of packages, for records of how a number was made."""

import importlib.metadata
import sys

import jaxgan

__all__ = ["versions"]


def versions(*names: str) -> dict[str, str]:
    """Returns by name the versions of packages: that of this jaxgan, which needn't be installed, and of others what
    their metadata or else the imported modules say; "unknown" where neither does."""
    return {name: jaxgan.__version__ if name == "jaxgan" else _of(name) for name in names}


def _of(name: str) -> str:
    try:
        found = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError):  # a record that has no version raises the latter
        found = None
    return str(found or getattr(sys.modules.get(name.replace("-", "_")), "__version__", None) or "unknown")
