"""The compiled program for a run's data, wherever they lie."""

import math
from typing import Any

import jax

from jaxgan.data.stream import Stream
from jaxgan.parallel import Layout
from jaxgan.training.compiled.program import Program, compile_chunk
from jaxgan.training.compiled.streaming import compile_stream
from jaxgan.training.distributed import processes
from jaxgan.training.errors.usage import UsageError, refusals
from jaxgan.training.options.data import RealTransform
from jaxgan.training.options.devices import device_memory
from jaxgan.training.recipe.data_spec import Data, DataSpec
from jaxgan.training.recipe.gan import GAN

__all__ = ["batch_sizes", "check_counts", "check_memory", "compile_for"]

State = Any


def batch_sizes(gan: GAN, data: DataSpec) -> dict[str | None, int]:
    """Returns how many examples an iteration takes, of each set by its name, of a single one by None."""
    return {name: gan.taken(name) for name in data.sets} if data.sets else {None: gan.taken()}


def check_counts(gan: GAN, data: DataSpec) -> None:
    """Raises UsageError where an iteration takes more examples than a set has."""
    for name, count in batch_sizes(gan, data).items():
        one = data if name is None else data.sets[name]
        if count > one.count:
            raise UsageError(
                f"an iteration takes {count} images, but {one.name} has only {one.count}; lower --batch-size"
            )


def check_memory(like: State) -> None:
    """Raises UsageError where a run's state, abstract arrays on their devices, is larger than the memory of these."""
    memory, sharing = device_memory()
    if (size := sharing * sum(_bytes(leaf) for leaf in jax.tree.leaves(like))) > memory:
        raise UsageError(
            f"the networks, their averages and the optimiser's state take {size / 2**30:,.1f} GiB on a device, which "
            f"has {memory / 2**30:,.1f}; take narrower networks, such as by --features or --width, or fewer --seeds"
        )


def _bytes(leaf: Any) -> int:
    """Returns the bytes of an array's part on a device."""
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


@refusals()
def compile_for(
    gan: GAN,
    state: State,
    spec: DataSpec,
    data: Data,
    transform: RealTransform | None,
    *,
    layout: Layout,
    options: dict[str, Any] | None,
) -> tuple[Program, int]:
    """Returns the program that trains on these data, and the bytes that they take on a device. A stream's reads ahead:
    close it. UsageError for what the library refuses. `options` are XLA's."""
    if isinstance(data, Stream):
        return compile_stream(gan, state, spec, data, transform, layout=layout, options=options), 0

    def placed(arrays: Any, fields: Any) -> Any:
        return {name: processes.global_array(layout.everywhere, arrays[name].shape, arrays[name]) for name in fields}

    if isinstance(data, dict):
        examples = {name: placed(one.arrays, spec.sets[name].fields) for name, one in data.items()}
        size = sum(array.nbytes for one in examples.values() for array in one.values())
    else:
        examples = placed(data.arrays, spec.fields)
        size = sum(array.nbytes for array in examples.values())
    return compile_chunk(gan, state, spec, examples, transform, layout=layout, options=options), size
