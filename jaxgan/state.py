"""The state of a run: one immutable pytree that holds everything that changes, so that saving it is saving the run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.training import train_state

__all__ = ["ROLES", "GANState", "TrainState", "average_name", "first_change", "path_name"]

ROLES = {"generator": 0, "discriminator": 1, "order": 2, "display": 3, "init": 4, "transform": 5}
"""The numbers that are folded into the run's key, one for each purpose. They are part of every saved run."""

PyTree = Any
Variables = dict[str, PyTree]


def _strong(tree: PyTree) -> PyTree:
    """Returns a pytree whose arrays have no weak types. `jnp.asarray(0.2)` has one, which an update would change, so
    that the next call compiles again and a scan fails."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)) if _is_weak(x) else x, tree)


def _is_weak(x: Any) -> bool:
    return bool(getattr(x, "weak_type", True))


def path_name(path: Any) -> str:
    """Returns the path of a leaf in a pytree as text, "conv/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def average_name(player: str, weights: str) -> str:
    """Returns what an average of a player is called in a state's `ema`: weights "ema", or a width, "0.05"."""
    return player if weights == "ema" else f"{player}:{weights}"


def first_change(before: PyTree, after: PyTree) -> str | None:
    """Returns in words the first leaf whose shape or type differs between two pytrees, or that only one of them has;
    None where there is none."""
    was, now = (
        {jax.tree_util.keystr(path): f"{jnp.result_type(x)}{list(jnp.shape(x))}" for path, x in leaves}
        for leaves in map(jax.tree.leaves_with_path, (before, after))
    )
    for name in was | now:
        if was.get(name) != now.get(name):
            return f"{name.lstrip('.')} was {was.get(name, 'not there')} and is {now.get(name, 'not there any more')}"
    return None


class TrainState(train_state.TrainState):
    """One player: flax's `TrainState` and, in `variables`, the network's other collections (`batch_stats`, `spectral`).

    `step` counts this player's own updates, int32. `tx` is built without a learning rate (`optax.scale_by_adam`; with
    `optax.adam`, which has one and a minus sign, a loss grows): the update multiplies by the rate, which is in
    `GANState.hyper`. `params` are any pytree of floats. Two declarations describe the network to an update; the
    functions of `jaxgan.players` fill them in:

    once: collections that change in the first of an update's passes only, as a power iteration does.
    across: layers that look across examples ("batch normalisation"); a part of a batch gives them other results.
    """

    variables: Variables
    once: tuple[str, ...] = struct.field(pytree_node=False, default=())
    across: tuple[str, ...] = struct.field(pytree_node=False, default=())

    @classmethod
    def create(  # type: ignore[override]  # flax's takes any field by name
        cls,
        *,
        apply_fn: Callable[..., Any],
        params: PyTree,
        tx: optax.GradientTransformation,
        variables: Variables | None = None,
        once: Sequence[str] = (),
        across: Sequence[str] = (),
    ) -> "TrainState":
        """Returns a player before its first update. flax's own `create` counts in a Python int, which compiles twice,
        and takes dicts of parameters only. ValueError for what is no optimiser."""
        if not hasattr(tx, "init") or not hasattr(tx, "update"):
            raise ValueError(f"expected an optimiser such as optax.scale_by_adam(), got {tx!r}")
        return cls(
            step=jnp.zeros((), jnp.int32),
            apply_fn=apply_fn,
            params=params,
            tx=tx,
            opt_state=_strong(tx.init(params)),
            variables=dict(variables or {}),
            once=tuple(once),
            across=tuple(across),
        )

    @property
    def all_variables(self) -> Variables:
        """Returns parameters and other collections, as `apply_fn` takes them."""
        return {"params": self.params, **self.variables}

    def apply(self, params: PyTree, variables: Variables, *inputs: Any, **options: Any) -> Any:
        """Returns the network's output on `params` and `variables`; `options` as for `nn.Module.apply`."""
        return self.apply_fn({"params": params, **variables}, *inputs, **options)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GANState:
    """The state of a run: players by name, and all else that changes.

    step: int32, iterations done. key: the run's only key; it never changes, and is used only through roles and names.
    ema: for players that are averaged, by name, their variables with averaged parameters, as `apply_fn` takes them;
    under `<player>:<width>` those of power-function averages.
    hyper: float32 scalars by name: `<player>/learning_rate` in units of the optimiser, weights, `ema_half_life` in
    images, for one player alone `<player>/ema_half_life`, `power_ema/<width>`, the exponent γ of a power-function
    average, `ema_statistics`, above 0 where batch statistics are averaged as the parameters are. extras: what
    objectives store between updates, by name.
    """

    step: jax.Array
    key: jax.Array
    players: dict[str, TrainState]
    ema: dict[str, Variables]
    hyper: dict[str, jax.Array]
    extras: dict[str, PyTree]

    @property
    def generator(self) -> TrainState:
        """Returns the player called "generator"."""
        return self.players["generator"]

    @property
    def discriminator(self) -> TrainState:
        """Returns the player called "discriminator"."""
        return self.players["discriminator"]

    @property
    def weights(self) -> tuple[str, ...]:
        """Returns what `variables_of` takes: "ema", "raw" and the widths of power-function averages, "0.05"."""
        widths = dict.fromkeys(name.rpartition(":")[2] for name in self.ema if name not in self.players)
        return ("ema", "raw", *widths)

    def variables_of(self, player: str, weights: str = "ema") -> Variables:
        """Returns a player's variables as its `apply_fn` takes them: averaged ones ("ema"), those of the last step
        ("raw"), or the power-function average of a width ("0.05"). ValueError for others."""
        if weights not in self.weights:
            raise ValueError(f"weights must be one of {', '.join(self.weights)}, got {weights!r}")
        if weights == "raw":
            return self.players[player].all_variables
        return self.ema[average_name(player, weights)]

    def averages_of(self, player: str) -> list[str]:
        """Returns the names in `ema` of a player's averages, none where it has none."""
        return [name for name in self.ema if name == player or name.startswith(average_name(player, ""))]

    def evaluate(self, player: str, *inputs: Any, weights: str = "ema", **options: Any) -> Any:
        """Returns a player's output in evaluation mode; weights as for `variables_of`, options as `apply_fn` takes
        them."""
        return self.players[player].apply_fn(self.variables_of(player, weights), *inputs, train=False, **options)

    @classmethod
    def of(
        cls,
        key: jax.Array,
        players: Mapping[str, TrainState],
        *,
        averaged: Sequence[str] = (),
        hyper: Mapping[str, float],
        extras: Mapping[str, PyTree] | None = None,
    ) -> "GANState":
        """Returns a state of any players at step 0.

        averaged: players whose parameters are averaged; `hyper` must have `ema_half_life` then (or one for each of
            them), in images; with 0 an average equals the parameters. For each `power_ema/<width>` in `hyper`, see
            `jaxgan.ema.power_ema`, each of them has another average.
        hyper: must have `<player>/learning_rate` of every player that learns.
        ValueError for a missing half-life, an unknown name, a player named like a field of the state or a role, what is
        no key of `jax.random.key`, or a number in `hyper` that is an array.
        """
        if jnp.ndim(key) or not jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key):
            raise ValueError(f"expected one key as jax.random.key(0) makes it, got {key!r}")
        numbers = {name: jnp.asarray(value, jnp.float32) for name, value in hyper.items()}
        widths = [name.removeprefix("power_ema/") for name in hyper if name.startswith("power_ema/")]
        if arrays := [name for name, value in numbers.items() if value.ndim]:
            raise ValueError(f"expected numbers in hyper; {arrays[0]!r} has the shape {numbers[arrays[0]].shape}")
        reserved = {field.name for field in dataclasses.fields(cls)} | set(ROLES) - {"generator", "discriminator"}
        if clashing := set(players) & reserved:
            raise ValueError(f"players can't be called {sorted(clashing)}, as something else is; choose other names")
        if unknown := set(averaged) - set(players):
            raise ValueError(f"averaged names {sorted(unknown)}; the players are {sorted(players)}")
        for name in averaged:
            if not {"ema_half_life", f"{name}/ema_half_life"} & set(hyper):
                raise ValueError(f"hyper lacks 'ema_half_life', in images, for {name!r}; it has {sorted(hyper)}")
        return cls(
            step=jnp.zeros((), jnp.int32),
            key=key,
            players=dict(players),
            # Copies: the program donates its state, and no buffer may be given away twice.
            ema={
                average: jax.tree.map(jnp.copy, players[name].all_variables)
                for name in averaged
                for average in (average_name(name, weights) for weights in ("ema", *widths))
            },
            hyper=numbers,
            extras=_strong(dict(extras or {})),
        )

    @classmethod
    def create(
        cls,
        key: jax.Array,
        generator: TrainState,
        discriminator: TrainState,
        *,
        hyper: Mapping[str, float],
        extras: Mapping[str, PyTree] | None = None,
    ) -> "GANState":
        """Returns the state of a plain GAN, `of` two players, whose generator is averaged. ValueError where `hyper`
        lacks a learning rate or `ema_half_life`."""
        missing = {"generator/learning_rate", "discriminator/learning_rate", "ema_half_life"} - set(hyper)
        if missing:
            raise ValueError(f"hyper lacks {sorted(missing)}; it has {sorted(hyper)}")
        players = {"generator": generator, "discriminator": discriminator}
        return cls.of(key, players, averaged=["generator"], hyper=hyper, extras=extras)

    def replace(self, **changes: Any) -> "GANState":
        """Returns the state with these fields or, by their names, these players replaced. TypeError for
        another name."""
        fields = {field.name for field in dataclasses.fields(self)}
        if unknown := set(changes) - fields - set(self.players):
            raise TypeError(f"the state has no {sorted(unknown)}; it has {sorted(fields)} and {sorted(self.players)}")
        players = dict(changes.pop("players", self.players))
        players |= {name: changes.pop(name) for name in list(changes) if name not in fields}
        return dataclasses.replace(self, players=players, **changes)
