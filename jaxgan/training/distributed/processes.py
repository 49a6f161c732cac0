"""Several processes that train one run, with `jax.distributed`: how they meet, agree, share the batches, and end.

What is said of a lost process was tried out on CPUs with kill -9, SIGSTOP and jax 0.10.2. Where a collective is going
on, gloo raises at once in Python: `lost_process` knows its texts, and what NCCL says. Otherwise a thread of jax's
notices, at once where process 0 is gone and else by the heartbeat, and aborts the process from C++: `explain_aborts`
ends that with the same line. After either, the interpreter's end would wait for the lost one and then abort:
`exit_at_once` goes without it."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgan.data.errors import DataError
from jaxgan.printable import printable, said_by
from jaxgan.terminal import say, steady_output
from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError

__all__ = [
    "agree",
    "check_alike",
    "exit_at_once",
    "explain_aborts",
    "first",
    "from_first",
    "gather",
    "global_array",
    "join",
    "lost_process",
    "several",
    "share",
]

T = TypeVar("T")

MEET = 300  # seconds in which all processes must have started
HEARTBEAT = 30  # seconds without a sign of life after which a process is lost, though its connections are open
GONE = re.compile(
    "gloo|nccl|rccl|heartbeat|unhealthy|connection (reset|closed|refused)|socket closed|remote process",
    re.IGNORECASE,
)
AGAIN = "start all of them again: the run goes on from its last checkpoint"
FLAGS = "--coordinator HOST:PORT --processes N --process I"


def join(coordinator: str | None, processes: int | None = None, process: int | None = None) -> None:
    """Makes this process one of those of a run. To be called before jax computes anything or is asked for its devices.

    `coordinator` is None (one process: nothing is done), "auto" (what the cluster says: SLURM, Kubernetes, TPU pods,
    Open MPI) or HOST:PORT of the first process, with the number of `processes` and which one this is, from 0. Returns
    when all are there. Does nothing where `jax.distributed` runs already. UsageError where the values are wrong, no
    cluster is found, or the others don't come within `MEET` seconds.
    """
    _check(coordinator, processes, process)
    if coordinator is None or jax.distributed.is_initialized():
        return
    address = None if coordinator == "auto" else coordinator
    if address and process == 0:
        _check_port(address)
    # Its handler of SIGTERM would hear the signal instead of ours.
    jax.config.update("jax_enable_preemption_service", False)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL) if in_main else None  # the wait is deaf to Python's own
    late = (
        f"--coordinator {coordinator}: not all processes met within {MEET} s; start every one of them, each with its "
        "own --process, and name an address of the first that all can reach"
    )
    try:
        with _aborting(f"error: {late}", 2):
            jax.distributed.initialize(
                *(address, processes, process), initialization_timeout=MEET, heartbeat_timeout_seconds=HEARTBEAT
            )
    except Exception as error:
        reason = said_by(error)
        if "should be defined" in reason or "must be defined" in reason:
            reason = f"no SLURM, Kubernetes, TPU pod or Open MPI was found here; give {FLAGS}"
        raise UsageError(f"--coordinator {coordinator}: {reason}") from error
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Raises UsageError where the values make no sense."""
    given = {"--processes": processes, "--process": process}
    if coordinator is None or coordinator == "auto":
        beside = "--coordinator auto, which finds it out" if coordinator else "no --coordinator"
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} {value} with {beside}; give all of {FLAGS}")
        return
    port = re.fullmatch(r"(?:[^:\s]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})", coordinator)
    if not port or not 0 < int(port[1]) < 65536:
        raise UsageError(f"--coordinator must be auto or HOST:PORT of the first process, got {coordinator}")
    if processes is None or process is None:
        missing = next(name for name, value in given.items() if value is None)
        raise UsageError(f"--coordinator {coordinator} needs {missing}; give all of {FLAGS}")
    if processes < 1:
        raise UsageError(f"--processes must be at least 1, got {processes}")
    if not 0 <= process < processes:
        raise UsageError(f"--process must be from 0 to {processes - 1} (--processes {processes}), got {process}")


def _check_port(address: str) -> None:
    """Checks that the port is free: where it isn't, jax 0.10.2 crashes (SIGSEGV), or shares it with another run."""
    port = int(address.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise UsageError(
            f"--coordinator {address}: this process, the first, can't listen on port {port} ({error.strerror}); "
            "choose another, the same for all processes"
        ) from None


def several() -> bool:
    """Tells whether the run has more than one process. Starts no backend where it hasn't."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Tells whether this process is the one that writes pictures and logs, and holds the run's lock."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


# --- one decision for all ---------------------------------------------------------------------------------------------
# Each of these must be called by all processes, in the same order among themselves and among their computations.


def gather(*numbers: int) -> np.ndarray:
    """Returns the numbers of every process, int32 `[processes, len(numbers)]`."""
    own = np.asarray(numbers, np.int32)
    return multihost_utils.process_allgather(own) if several() else own[None]


def agree(stop: int, count: int) -> tuple[int, int]:
    """Returns the signal that any process caught (the largest; 0 for none), and the smallest count that one
    proposes."""
    told = gather(stop, count)
    return int(told[:, 0].max()), int(told[:, 1].min())


def from_first(make: Callable[[], T]) -> T:
    """Calls `make()` on the first process alone, and returns its result, which JSON must keep, on all. A UsageError,
    Stopped or OSError that it raises is raised on all."""
    if not several():
        return make()
    said: dict[str, Any] = {}
    if first():
        try:
            said = {"value": make()}
        except UsageError as error:
            said = {"usage": [str(error)]}
        except Stopped as error:
            said = {"stopped": [str(error), error.status]}
        except OSError as error:
            name = None if error.filename is None else str(error.filename)
            said = {"os": [error.errno, error.strerror or str(error), name]}
    text = json.dumps(said).encode()
    length = int(gather(len(text))[0, 0])
    padded = np.zeros(-(-length // 1024) * 1024, np.uint8)  # each size is a program of its own
    if first():
        padded[:length] = np.frombuffer(text, np.uint8)
    said = json.loads(multihost_utils.broadcast_one_to_all(padded)[:length].tobytes())
    for kind, raised in {"usage": UsageError, "stopped": Stopped, "os": OSError}.items():
        if kind in said:
            raise raised(*said[kind])
    return said["value"]


def check_alike(values: dict[str, Any]) -> None:
    """Raises UsageError on all processes where one has other values than the first: they would train a mixture."""
    mine = {name: str(value) for name, value in values.items()}
    others = from_first(lambda: mine)
    wrong = [f"{name} {value} (the first has {others[name]})" for name, value in mine.items() if value != others[name]]
    differ = gather(bool(wrong))[:, 0]
    if differ.any():
        who = f"{_who()} has {'; '.join(wrong)}" if wrong else f"process {differ.argmax()} has other options or data"
        raise UsageError(f"{who}; start all processes alike")


# --- each its share ---------------------------------------------------------------------------------------------------


def share(sharding: jax.sharding.Sharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Returns the part of a global array of that shape that this process feeds: a slice for each axis, the smallest box
    that holds what its devices hold. ValueError where the shape can't be divided so."""
    indices = sharding.addressable_devices_indices_map(shape).values()
    bounds = [[axis.indices(size)[:2] for axis, size in zip(index or (), shape, strict=True)] for index in indices]
    return tuple(
        slice(min(low), max(high)) for low, high in (zip(*axis, strict=True) for axis in zip(*bounds, strict=True))
    )


def global_array(sharding: jax.sharding.Sharding, shape: tuple[int, ...], local: np.ndarray) -> jax.Array:
    """Returns the array of that shape of which each process has its own part, `local = whole[share(sharding,
    shape)]`."""
    box = share(sharding, shape)
    if local.shape != (expected := tuple(axis.stop - axis.start for axis in box)):
        raise ValueError(f"this process' share of {shape} has shape {expected}, got {local.shape}")

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        places = zip(index or (), box, shape, strict=True)
        return local[tuple(slice(*(i - own.start for i in axis.indices(size)[:2])) for axis, own, size in places)]

    return jax.make_array_from_callback(shape, sharding, part)


# --- the end ----------------------------------------------------------------------------------------------------------


def lost_process(error: BaseException) -> Stopped | None:
    """Returns the end of a run whose other processes are gone, where the error says so; None for any other error."""
    if not several() or isinstance(error, UsageError | DataError):
        return None
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    # XLA raises gloo's errors as ValueError, and its own as RuntimeError; errors of the system have a number.
    kinds = (one for one in chain if isinstance(one, ValueError | RuntimeError) or getattr(one, "errno", 0) is None)
    found = next((one for one in kinds if GONE.search(str(one))), None)
    return Stopped(f"{_who()} lost another ({_line(found)}); {AGAIN}", 1) if found else None


@contextlib.contextmanager
def explain_aborts() -> Iterator[None]:
    """Makes the last line on stderr say what to do, and the exit status 1, where jax aborts the process in the block,
    as it does when it finds another one lost."""
    if not several():
        yield
        return
    line = f"{_who()} was aborted by jax, which says above why: as a rule another is lost; {AGAIN}"
    with _aborting(line, 1):
        yield


@contextlib.contextmanager
def _aborting(line: str, status: int) -> Iterator[None]:
    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def end(number: int) -> None:
        # In the thread that aborts, one of C++: a handler of Python's runs in the main one, and so too late.
        try:
            os.write(2, f"\n{printable(line)}\n".encode())
        finally:
            os._exit(status)

    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = set_handler(signal.SIGABRT, ctypes.cast(end, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGABRT, before)


@contextlib.contextmanager
def exit_at_once() -> Iterator[None]:
    """Ends the process where one of several leaves the block by an exception: with its status or its traceback, but
    without the interpreter's end, where jax waits for the others, who wait for this one. They notice its end."""
    try:
        yield
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        status = 1
        with steady_output(last=True):
            if not isinstance(error, SystemExit):
                traceback.print_exception(error)
            elif error.code is None or isinstance(error.code, int):
                status = error.code or 0
            else:
                say(error.code, error=True)
        os._exit(status)


def _who() -> str:
    return f"process {jax.process_index()} of {jax.process_count()}"


def _line(error: BaseException) -> str:
    """Returns the first line of what an error says, without the places in gloo's source."""
    line = str(error).strip().partition("\n")[0].strip()
    return re.sub(r"\[external/\S+\] ", "", line) or type(error).__name__
