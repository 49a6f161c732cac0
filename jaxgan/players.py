"""Players from a Linen module, a plain function, an NNX module, or any callable pytree such as an Equinox module.

An update calls a player's `apply_fn`, and knows nothing else of network libraries:

    apply_fn({"params": params, **variables}, *inputs, train=..., rngs={name: key}, mutable=[names], **options)
        -> (output, {name: changed collection})

train: whether the pass is one of training, which may normalise by its batch. rngs: keys for "dropout" and "noise".
mutable: the collections that may change; those that changed are returned. Outputs are any pytree.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxgan.state import ROLES, TrainState, Variables

__all__ = ["Frozen", "callable_player", "init_player", "init_players", "nnx_player", "plain_player"]

PyTree = Any


@dataclasses.dataclass(frozen=True, eq=False)
class _Linen:
    """A Linen module's `apply` for every way in which a module may be written.

    The mode is passed in the method's own words, see `_mode`. Passes that change nothing may be training passes too:
    layers that always write their statistics (flax's own) are allowed to, and what they write is dropped; collections
    of `once` stay unchanged. `turns`: whether the module has flax's spectral normalisation, which is updated with the
    collection "spectral".
    """

    module: nn.Module
    once: tuple[str, ...] = ()
    turns: bool = False

    def __eq__(self, other: object) -> bool:
        # Compared by the module's identity: states of one module are trees of one kind, and no field is hashed.
        return isinstance(other, _Linen) and self.module is other.module and self.once == other.once

    def __hash__(self) -> int:
        return hash((id(self.module), self.once))

    def __call__(
        self,
        variables: Variables,
        *inputs: Any,
        method: str | Callable[..., Any] | None = None,
        mutable: Any = False,
        rngs: Any = None,
        train: bool = False,
        **options: Any,
    ) -> Any:
        options = _mode(self.module, method, train) | options
        requested = [] if mutable is False else [mutable] if isinstance(mutable, str) else mutable
        written = {name for name in variables if name not in ("params", *self.once)} if train else set()
        turning = nn.intercept_methods(_turning("spectral" in requested)) if self.turns else contextlib.nullcontext()
        with turning:
            out, changed = self.module.apply(
                variables, *inputs, method=method, rngs=rngs, mutable=sorted({*requested, *written}), **options
            )
        return out if mutable is False else (out, {name: changed[name] for name in requested if name in changed})


# Arguments of flax's guides and examples: those that mean training, and those that mean evaluation.
MODES = dict.fromkeys(("train", "training", "is_training"), True)
MODES |= dict.fromkeys(("deterministic", "use_running_average"), False)


def _mode(module: nn.Module, method: str | Callable[..., Any] | None, train: bool) -> dict[str, Any]:
    """Returns the arguments that tell a module's method whether a pass is one of training: those of `MODES` that it
    takes, and `train` where it takes any. flax's own layers refuse one that a field of theirs has set already."""
    if isinstance(module, nn.Sequential) and method is None:  # passes its arguments on to its first layer
        return _mode(module.layers[0], None, train) if isinstance(module.layers[0], nn.Module) else {}
    function = method if callable(method) else getattr(type(module), method or "__call__")
    takes = inspect.signature(function).parameters
    mode = {"train": train} if any(p.kind is p.VAR_KEYWORD for p in takes.values()) else {}
    for name, of_training in MODES.items():
        if name in takes and (takes[name].default is not None or getattr(module, name, None) is None):
            mode[name] = train == of_training
    return mode


def _turning(turns: bool) -> Callable[..., Any]:
    """Returns an interceptor of methods that keeps flax's spectral normalisation unchanged unless it `turns`, whatever
    its caller asks for, and has all passes of an update use the same weights."""

    def interceptor(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if not isinstance(module, nn.SpectralNorm):
            return next_fun(*args, **kwargs)
        if context.method_name == "__call__":
            kwargs = {**kwargs, "update_stats": turns and kwargs.get("update_stats", False)}
        result = next_fun(*args, **kwargs)
        if context.method_name != "_spectral_normalize" or module.is_initializing():
            return result
        path, weight = args
        return _normalised(module, path, weight, result.dtype)

    return interceptor


def _normalised(module: nn.SpectralNorm, path: Any, weight: jax.Array, dtype: Any) -> jax.Array:
    """Returns a weight of flax's layer divided by its norm σ = v W uᵀ, with v = u Wᵀ of length 1 and the u that is
    stored.

    flax itself makes an iteration in every pass before it uses u, in those too that leave u as it is: the second pass
    of an update, a penalty's and the other player's would each have weights of their own. Here they follow from what is
    stored alone. Both vectors are constants to the gradient, as in flax.
    """
    if weight.ndim <= 1 or module.n_steps < 1:
        return jnp.asarray(weight, dtype)
    matrix = weight.reshape(-1, weight.shape[-1])
    names = [module.layer_instance.name, *(key.key for key in path[1:]), "u"]
    u = _unit(module.get_variable(module.collection_name, "/".join(names)), module.epsilon)
    v = jax.lax.stop_gradient(_unit(u @ matrix.T, module.epsilon))
    sigma = (v @ matrix @ u.T)[0, 0]
    return jnp.asarray(weight / jnp.where(sigma != 0, sigma, 1), dtype)


def _unit(row: jax.Array, epsilon: float) -> jax.Array:
    return row / jnp.maximum(jnp.linalg.norm(row), epsilon)


def init_player(
    key: jax.Array,
    module: nn.Module,
    tx: optax.GradientTransformation,
    *inputs: Any,
    once: Sequence[str] = (),
    across: Sequence[str] = (),
) -> TrainState:
    """Returns a player of a Linen module, whose variables are drawn with `key` for `inputs` (only their shapes matter).

    The module may take `train`, or flax's other names for it (`training`, `is_training`, `deterministic`), or none. It
    may be written with layers of `jaxgan.networks` or as flax documents its own:
    `nn.BatchNorm(use_running_average=not train)`, `nn.SpectralNorm(layer)(x, update_stats=train)`. flax's spectral norm
    turns once an update as well, in its first pass, and all other passes have the weights that follow from that. `once`
    and `across`, see `TrainState`, are for layers of your own; those of jaxgan and flax are known.
    """
    turning: set[str] = set()

    def look(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, nn.SpectralNorm):
            turning.add("spectral")
        return next_fun(*args, **kwargs)

    rngs = {"params": key, "dropout": jax.random.fold_in(key, 1), "noise": jax.random.fold_in(key, 2)}
    with nn.intercept_methods(look):
        variables = dict(module.init(rngs, *inputs, **_mode(module, None, False)))
    params = variables.pop("params", {})
    spectral = ("spectral",) if turning or "spectral" in variables else ()
    looking = ["batch normalisation"] if _normalises_by_batch(variables) else []
    looking += ["a minibatch layer"] if "across_examples" in variables else []
    moving = tuple(dict.fromkeys((*spectral, *once)))
    return TrainState.create(
        apply_fn=_Linen(module, moving, bool(turning)),
        params=params,
        tx=tx,
        variables=variables,
        once=moving,
        across=(*looking, *across),
    )


def init_players(
    key: jax.Array,
    modules: Mapping[str, nn.Module],
    tx: optax.GradientTransformation,
    inputs: Mapping[str, Sequence[Any]],
) -> dict[str, TrainState]:
    """Returns players of Linen modules by name, each drawn with a key of its own that follows from a run's `key` and
    its place. inputs: by name as for `init_player`; those of other names are ignored."""
    keys = jax.random.split(jax.random.fold_in(key, ROLES["init"]), len(modules))
    return {
        name: init_player(own, module, tx, *inputs[name])
        for own, (name, module) in zip(keys, modules.items(), strict=True)
    }


def _normalises_by_batch(variables: Variables) -> bool:
    """Returns whether `batch_stats` holds more than `kernel/u` and `kernel/sigma`, which flax's spectral normalisation
    keeps there."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables.get("batch_stats", {}))]
    return any(not str(getattr(path[-1], "key", "")).endswith(("/u", "/sigma")) for path in paths)


def plain_player(
    function: Callable[..., Any], params: PyTree, tx: optax.GradientTransformation, *, across: Sequence[str] = ()
) -> TrainState:
    """Returns a player of `function(params, *inputs, **options) -> output`. It has no variables but `params`, any
    pytree; it draws nothing, and is the same in training and evaluation."""

    def apply_fn(
        variables: Variables, *inputs: Any, mutable: Any = False, rngs: Any = None, train: bool = False, **options: Any
    ) -> Any:
        out = function(variables["params"], *inputs, **options)
        return out if mutable is False else (out, {})

    return TrainState.create(apply_fn=apply_fn, params=params, tx=tx, across=across)


def callable_player(
    module: Callable[..., Any], tx: optax.GradientTransformation, *, batched: bool = False, across: Sequence[str] = ()
) -> TrainState:
    """Returns a player of a callable pytree, as Equinox modules are: its floating-point arrays are the parameters.

    It is called on one example, `module(*inputs)`, and mapped over the batch, or with `batched` called on all examples
    at once. Modules that draw (dropout) or return a new state of theirs (Equinox's batch normalisation) need their own
    `apply_fn`, see the module's docstring; keys may also be among the inputs, `[B]`.
    """
    leaves, structure = jax.tree.flatten(module)
    learned = [isinstance(x, jax.Array | np.ndarray) and jnp.issubdtype(x.dtype, jnp.inexact) for x in leaves]
    params = [jnp.asarray(x) for x, learns in zip(leaves, learned, strict=True) if learns]

    def function(params: list[jax.Array], *inputs: Any, **options: Any) -> Any:
        queue = iter(params)
        whole = [next(queue) if learns else x for x, learns in zip(leaves, learned, strict=True)]
        called = functools.partial(jax.tree.unflatten(structure, whole), **options)
        return called(*inputs) if batched else jax.vmap(called)(*inputs)

    return plain_player(function, params, tx, across=across)


def nnx_player(module: nnx.Module, tx: optax.GradientTransformation, *, across: Sequence[str] = ()) -> TrainState:
    """Returns a player of an NNX module in its present state: its `nnx.Param` are the parameters.

    Every pass works on a copy, in the mode of `module.train()` or, in evaluation, of `module.eval()`, with new keys in
    its random streams. Batch statistics are the collection "rest", the variables of `nnx.SpectralNorm` the collection
    "spectral".
    """
    turning = [path for path, part in nnx.iter_modules(module) if isinstance(part, nnx.SpectralNorm)]
    averaging = any(isinstance(part, nnx.BatchNorm) for _, part in nnx.iter_modules(module))

    def turns(path: Any, value: Any) -> bool:
        return any(tuple(path[: len(start)]) == tuple(start) for start in turning) and isinstance(value, nnx.BatchStat)

    def split(module: nnx.Module) -> Any:
        return nnx.split(module, nnx.Param, nnx.RngState, turns, ...)

    graph, params, streams, spectral, rest = split(module)

    def apply_fn(
        variables: Variables, *inputs: Any, mutable: Any = False, rngs: Any = None, train: bool = False, **options: Any
    ) -> Any:
        now = variables.get("spectral", spectral), variables["rest"]
        mine = nnx.merge(graph, variables["params"], streams, *now, copy=True)
        if train:
            mine.train()
        else:
            mine.eval()
        if rngs:
            nnx.reseed(mine, default=rngs["dropout"], **rngs)
        out = mine(*inputs, **options)
        *_, new_spectral, new_rest = split(mine)
        changed = {"spectral": new_spectral, "rest": new_rest}
        return out if mutable is False else (out, {name: changed[name] for name in mutable})

    return TrainState.create(
        apply_fn=apply_fn,
        params=params,
        tx=tx,
        variables={"rest": rest} | ({"spectral": spectral} if turning else {}),
        once=("spectral",) if turning else (),
        across=(*(["batch normalisation"] if averaging else []), *across),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Frozen:
    """A network that isn't trained (a perceptual loss's features), for use inside an objective. It is no player, so
    checkpoints don't hold it. `digest` tells whether a continued run has the same one.

    apply_fn: `(variables, *inputs, **options) -> output`; variables: any pytree of arrays.
    """

    apply_fn: Callable[..., Any]
    variables: PyTree

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.apply_fn(jax.lax.stop_gradient(self.variables), *inputs, **options)

    @functools.cached_property
    def digest(self) -> str:
        """Returns the SHA-256 of all arrays, their names, shapes and types, in hexadecimal."""
        whole = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.variables):
            array = np.asarray(leaf)
            whole.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype} ".encode())
            whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()
