"""One step on many devices: the layout of arrays, and the step under `jit` on a mesh, `pmap` and `shard_map`.

The mesh is members × data: the axis `seed` holds an ensemble's members, the axis `data` the batch. The usual way is a
plain `jit` over arrays in this layout (`Layout`): the batch is then the global one wherever its parts are, and so batch
statistics and losses across examples are global. `mapped` and `sharded` are for programs that are written for one
device and an axis name; their step is made with `axis_name="data"`.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.ensemble import axes, map_members
from jaxgan.state import TrainState

__all__ = ["Layout", "layout", "mapped", "sharded"]

PyTree = Any
Step = Callable[..., Any]
SMALL = 1024  # elements; a smaller array is not worth a message, and is copied to every device


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of a run's arrays on devices. ensemble: whether its state is an `Ensemble`. shard_parameters: whether
    parameters, their averages and the optimiser's state are spread over the axis `data`, instead of copied to each
    device."""

    mesh: Mesh
    ensemble: bool = False
    shard_parameters: bool = False

    @property
    def everywhere(self) -> NamedSharding:
        """Returns the sharding of an array that has a copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch(self) -> NamedSharding:
        """Returns the sharding of a batch `[B, ...]`, or `[S, B, ...]` in an ensemble."""
        return NamedSharding(self.mesh, PartitionSpec("seed", "data") if self.ensemble else PartitionSpec("data"))

    def of(self, state: PyTree) -> PyTree:
        """Returns the shardings of a state's leaves, which may be abstract."""
        stacked = axes(state) if self.ensemble else jax.tree.map(lambda _: None, state)
        is_none = lambda x: x is None  # noqa: E731 - used at once
        return jax.tree.map(
            lambda axis, leaf: NamedSharding(self.mesh, self._spec(axis, leaf.shape)), stacked, state, is_leaf=is_none
        )

    def _spec(self, axis: int | None, shape: tuple[int, ...]) -> PartitionSpec:
        spec: list[str | None] = [None] * len(shape)
        own = range(len(shape))
        if axis == 0:
            spec[0] = "seed"
            own = range(1, len(shape))
        count = self.mesh.shape["data"]
        fitting = [i for i in own if shape[i] % count == 0]
        if self.shard_parameters and fitting and math.prod(shape[i] for i in own) >= SMALL:
            spec[max(fitting, key=lambda i: shape[i])] = "data"
        return PartitionSpec(*spec)

    def abstract(self, state: PyTree) -> PyTree:
        """Returns the shapes, types and shardings of a state's leaves."""
        place = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
        return jax.tree.map(place, state, self.of(state))

    def gathering(self, state: PyTree) -> PyTree:
        """Returns the same state; with `shard_parameters` its players gather their variables when they use them: fully
        sharded data parallel (Rajbhandari et al. 2020, arXiv 1910.02054). Averages and the optimiser's state are never
        gathered. Gradients are summed completely, as without sharding, and then each device updates its part: a
        compiler that is asked for parts of them may send the batch to the parameters' parts instead (XLA's for CPUs
        does)."""

        def wrap(player: Any) -> Any:
            if not isinstance(player, TrainState):
                return player
            return player.replace(apply_fn=_Gathering(player.apply_fn, self.everywhere))

        return (
            jax.tree.map(wrap, state, is_leaf=lambda x: isinstance(x, TrainState)) if self.shard_parameters else state
        )

    def keep(self, state: PyTree) -> PyTree:
        """Returns the same state; inside a compiled program, constrained to this layout."""
        return jax.lax.with_sharding_constraint(state, self.of(state))

    def split(self, examples: PyTree) -> PyTree:
        """Returns the same examples `[B, ...]` of one member; inside a compiled program, spread over the devices."""
        return jax.lax.with_sharding_constraint(examples, NamedSharding(self.mesh, PartitionSpec("data")))

    def over_members(self, step: Step) -> Step:
        """Returns `step` for the run's state: unchanged for one GAN, mapped by `ensemble.map_members` for
        an ensemble."""
        return map_members(step, "seed") if self.ensemble else step


def layout(devices: Sequence[jax.Device] | None = None, *, members: int = 0, shard_parameters: bool = False) -> Layout:
    """Returns the layout on these devices (by default all, of all processes), for an ensemble if there are `members`.

    Members are spread over as many devices as divide both evenly, since members need no communication; the remaining
    factor divides the batch. With `shard_parameters`, for networks that don't fit on one device, all devices divide the
    batch.
    """
    devices = jax.devices() if devices is None else devices
    groups = math.gcd(len(devices), members) if members and not shard_parameters else 1
    mesh = Mesh(np.array(devices).reshape(groups, -1), ("seed", "data"))
    return Layout(mesh, members > 0, shard_parameters)


@dataclasses.dataclass(frozen=True)
class _Gathering:
    """A network's `apply` that gathers its variables from all devices when they are used."""

    apply_fn: Callable[..., Any]
    everywhere: NamedSharding

    def __call__(self, variables: PyTree, *inputs: Any, **options: Any) -> Any:
        whole = jax.lax.with_sharding_constraint(variables, self.everywhere)
        return self.apply_fn(whole, *inputs, **options)


def mapped(step: Step, devices: Sequence[jax.Device] | None = None) -> Step:
    """Returns `step`, made with `axis_name="data"`, under `pmap`: it takes a state and a batch `[devices, B / devices,
    ...]`, and returns one state. Older programs are written so; `pmap` itself is in maintenance."""
    return jax.pmap(step, "data", in_axes=(None, 0), out_axes=None, devices=devices)


def sharded(step: Step, mesh: Mesh, *, check_vma: bool = True) -> Step:
    """Returns `step`, made with `axis_name="data"`, under `shard_map` over the mesh's axis `data`: it takes a state and
    a global batch `[B, ...]`. Gradients are right with and without `check_vma`, see `jaxgan.devices.mean_over`."""
    state, batch = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(step, mesh=mesh, in_specs=(state, batch), out_specs=state, check_vma=check_vma)
