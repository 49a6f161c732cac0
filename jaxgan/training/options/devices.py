"""The options that say on which devices, in how many processes and in which precision a run computes."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from jaxgan.data.names import machine_memory
from jaxgan.parallel import Layout, layout
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import Bounded, bounded

__all__ = ["DeviceOptions", "compiler_options", "describe", "device_memory", "layout_for"]


@dataclasses.dataclass(frozen=True)
class DeviceOptions(Bounded):
    """Options of devices; every experiment's options inherit them."""

    GROUP: ClassVar[str] = "devices"

    devices: int | None = bounded(None, at_least=1)
    """How many devices share the work, by default all there are, of all processes. Which there are is for the
    environment to say: JAX_PLATFORMS=cpu, CUDA_VISIBLE_DEVICES=0."""
    shard_parameters: bool = False
    """Spread parameters, averages and optimiser state over the devices and gather parameters where they are used
    (fully sharded data parallel), for networks that don't fit one device. The numbers are the same."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type that networks compute in. Parameters, optimiser, statistics and losses are float32 in any case."""
    deterministic: bool = False
    """Ask XLA for the same bits from every run on a GPU, at the price of slower kernels that aren't tuned. A CPU gives
    them anyway."""
    coordinator: str | None = None
    """Be one of several processes that train together: auto finds the others through SLURM, Open MPI, Kubernetes or a
    TPU pod; HOST:PORT is where the first process listens."""
    processes: int | None = bounded(None, at_least=1)
    """How many processes, with --coordinator HOST:PORT."""
    process: int | None = bounded(None, at_least=0)
    """Which of them this is, from 0, with --coordinator HOST:PORT."""

    @property
    def compute_dtype(self) -> jnp.dtype:
        """Returns `dtype` as networks take it."""
        return jnp.dtype(self.dtype)


def layout_for(options: DeviceOptions, batch_size: int, taken: Iterable[int], members: int) -> Layout:
    """Returns the layout that the options ask for, for batches of which an iteration may take several: `taken`
    examples, of each set. UsageError where there aren't so many devices, or a batch doesn't divide."""
    there = jax.devices()
    count = options.devices or len(there)
    if count > len(there):
        more = ""
        if there[0].platform == "cpu":
            more = f"; XLA_FLAGS=--xla_force_host_platform_device_count={count} makes a CPU appear as {count}"
        raise UsageError(f"--devices {count}, but there {'is' if len(there) == 1 else 'are'} {len(there)}{more}")
    if count < len(there) and jax.process_count() > 1:
        raise UsageError(f"--devices {count}, but {jax.process_count()} processes have {len(there)}; all take part")
    where = layout(there[:count], members=members, shard_parameters=options.shard_parameters)
    shares = where.mesh.shape["data"]
    if batch_size % shares:
        below = batch_size - batch_size % shares
        fitting = [str(size) for size in (below, below + shares) if size]
        raise UsageError(
            f"a batch of {batch_size} can't be spread evenly over {shares} devices; "
            f"take --batch-size {' or '.join(fitting)}, or fewer --devices"
        )
    for count in taken:
        if count % shares:
            raise UsageError(
                f"the {count} images of an iteration can't be spread evenly over {shares} devices; take fewer"
            )
    return where


def compiler_options(options: DeviceOptions) -> dict[str, bool] | None:
    """Returns XLA's options for the training program. On GPUs the flag implies --xla_gpu_exclude_nondeterministic_ops
    and turns autotuning off, which would choose other kernels in another process (xla/debug_options_flags.cc)."""
    return {"xla_gpu_deterministic_ops": True} if options.deterministic else None


def describe(layout: Layout, *, deterministic: bool = False) -> str:
    """Describes a layout in a line, and in a second line what `deterministic` costs."""
    devices = layout.mesh.devices
    kind = devices.flat[0].device_kind
    parts = [f"{devices.size} devices ({kind})" if devices.size > 1 else f"1 device ({kind})"]
    if jax.process_count() > 1:
        parts.append(f"in {jax.process_count()} processes")
    if layout.shard_parameters:
        alone = layout.mesh.shape["data"] == 1
        whole = "parameters whole: --shard-parameters needs devices that share a batch"
        parts.append(whole if alone else "parameters spread over them")
    if layout.ensemble and devices.size > 1:
        parts.append("members spread {} ways, batches {} ways".format(*devices.shape))
    words = "on " + ", ".join(parts)
    if deterministic:
        words += "\n" + _price(devices.flat[0].platform)
    return words


def _price(platform: str) -> str:
    if platform == "cpu":
        return "--deterministic costs nothing here: a CPU gives the same bits in any case"
    return "--deterministic costs time: kernels are not tuned, and some are replaced by slower ones"


def device_memory() -> tuple[int, int]:
    """Returns the bytes of memory that a device of this process has, and how many devices share it: those that a CPU
    appears as have the machine's together."""
    local = jax.local_devices()
    stats = local[0].memory_stats() or {}
    return stats.get("bytes_limit") or machine_memory(), 1 if stats else len(local)
