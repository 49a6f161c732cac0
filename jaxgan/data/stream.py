"""Data sets that don't fit on the device: worker processes read and transform batches ahead of time, with Grain.

The order is that of `batch_indices`, which the workers compute from the run's key and the number of the batch. So the
batch of step n is the same whether the run was resumed or not, and has the same images as with a set in memory.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.order import batch_indices
from jaxgan.data.shared_memory import new_owner, remove_of_dead, remove_of_owner, share
from jaxgan.data.sources.source import Source
from jaxgan.data.transform import ImageTransform

__all__ = ["Stream", "batches"]

AHEAD = 4  # batches that each worker reads ahead


@dataclass(frozen=True)
class Stream:
    """A source whose `chosen` images are read and transformed as they are needed, and their labels `[len(chosen)]`."""

    name: str
    source: Source
    chosen: np.ndarray
    transform: ImageTransform
    labels: np.ndarray
    class_names: tuple[str, ...]
    workers: int = 2

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass(frozen=True)
class _Read:
    """A function from a step to its batch, as `batches` yields it; worker processes run it.

    It returns errors as data. An exception that can't be pickled would leave the run waiting for ever, and after any
    other exception Grain doesn't free the shared memory of what was read ahead."""

    stream: Stream
    words: np.ndarray
    batch_size: int
    part: tuple[slice, ...]
    owner: str | None  # of the shared memory that batches are handed over in

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        return {name: share(self.owner, array) for name, array in self._batch(step).items()}

    def _batch(self, step: int) -> dict[str, np.ndarray]:
        stream = self.stream
        orders = [batch_indices(words, step, self.batch_size, len(stream)) for words in self.words.reshape(-1, 2)]
        places = np.stack(orders).reshape(*self.words.shape[:-1], -1)[self.part]
        images = []
        for i in map(int, stream.chosen[places].flat):
            title = stream.source.title(i)
            try:
                images.append(stream.transform(stream.source[i], title))
            except DataError as error:
                return _fault(str(error))
            except Exception as error:  # noqa: BLE001 - a source of the user's own raises what it likes
                return _fault(f"{title} can't be read ({type(error).__name__}: {error})")
        return {"image": np.stack(images).reshape(*places.shape, *images[0].shape), "label": stream.labels[places]}


def _fault(text: str) -> dict[str, np.ndarray]:
    return {"error": np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)}


def _end_with_parent(index: int, count: int) -> None:
    """Ends this worker process as soon as its parent has ended; Grain calls it when a worker starts. Without it,
    workers would wait for ever for a run that was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel] if parent else [])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def batches(
    stream: Stream, words: np.ndarray, first: int, batch_size: int, part: tuple[slice, ...] = ()
) -> Generator[dict[str, np.ndarray]]:
    """Yields the batches with numbers `first`, `first + 1`, ... without end: `image` uint8 `[B, size, size, C]` and
    `label` `[B]`.

    `words` are the two words of the order's key, or those of several orders, `[S, 2]`, for batches `[S, B, ...]`. Only
    the `part` of each batch is read, slices of its leading axes. Close the iterator, or its workers go on running.
    DataError where Grain isn't installed or an image can't be read; ValueError where a batch is larger than the set."""
    batch_indices(
        words.reshape(-1, 2)[0], first, batch_size, len(stream)
    )  # its errors are raised here rather than in a worker
    try:
        import grain
    except ImportError:
        raise DataError("--stream needs Grain: pip install 'jaxgan[grain]'") from None
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain's workers look flags up, which is an error in a program that has none
        flags.FLAGS.mark_as_parsed()
    remove_of_dead()
    owner = new_owner()
    data: Any = grain.MapDataset.range(first, 2**40).map(_Read(stream, words, batch_size, part, owner))
    data = data.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    options = grain.MultiprocessingOptions(stream.workers, per_worker_buffer_size=AHEAD)
    iterator = iter(data.mp_prefetch(options, _end_with_parent))
    try:
        _start(iterator)
        for batch in iterator:
            if "error" in batch:
                text = batch["error"].tobytes().decode(errors="surrogateescape")
                raise DataError(f"{text}; repair it to go on, or start a new run with --skip-bad-images")
            # Copies, so that Grain can free the arrays' shared memory before the next batch. At the end of the process
            # it would be too late, and the memory would stay allocated.
            batch = {name: np.array(value) for name, value in batch.items()}
            yield batch
    except RuntimeError as error:
        what = str(error).partition(". ")[0]
        why = "a lack of memory? Fewer --workers need less" if what.endswith(" -9") else "what it said stands above"
        raise DataError(f"a process that reads {stream.name} ended ({what}): {why}") from error
    finally:
        iterator.close()
        remove_of_owner(owner)  # a worker that was killed has freed nothing


def _start(iterator: Any) -> None:
    """Starts the workers with Ctrl-C, SIGTERM and SIGHUP blocked. These signals reach all processes of a terminal or
    job; only the run itself handles them: it saves, and then ends its workers."""
    iterator.get_state()  # makes the iterators of all workers, which would otherwise start one after another
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        iterator.start_prefetch()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
