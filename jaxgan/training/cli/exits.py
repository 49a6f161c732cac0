"""Ends of programs: a line and an exit status instead of a traceback."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from jaxgan.data.errors import DataError
from jaxgan.training.cli.compilation_cache import clear_damaged_cache, compilation_cache
from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError

__all__ = ["plain_exits"]


@contextlib.contextmanager
def plain_exits() -> Iterator[None]:
    """Wraps the main of a program: what a user did wrong (exit status 2), Ctrl-C (130) and a run that stopped early
    (its own status) end it with a line instead of a traceback. A warning is a line too. What is compiled is kept."""

    def say(message: Warning | str, *where: Any, **how: Any) -> None:
        tqdm.write(f"warning: {message}", file=sys.stderr)
        clear_damaged_cache(str(message))

    shown, warnings.showwarning = warnings.showwarning, say
    try:
        with compilation_cache():
            yield
    except (UsageError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        warnings.showwarning = shown
