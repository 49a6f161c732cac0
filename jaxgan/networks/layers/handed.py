"""Building and calling the layers that a network is handed.

A network takes *factories*: classes of layers or partials of them, `conv=Conv`, `norm=partial(GroupNorm, groups=8)`. It
fixes the arguments that its shapes depend on (features, kernel, stride, padding) and has defaults for the rest
(initialisers, biases, dtype). A default is passed where the factory takes it, and what a partial sets overrides it.

A norm is called with the image and with those of `condition`, `train` and Linen's `use_running_average` that it takes,
so that the norms of `jaxgan.networks.layers` and Linen's own both fit. `norm=None` is no normalisation.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from jaxgan.networks.layers.norms import PixelNorm

__all__ = ["Layer", "build", "needs_bias", "normalise"]

Layer = Callable[..., Any]
"""What makes a layer: a Linen module's class, or a partial of one."""


class _Signature(NamedTuple):
    names: tuple[str, ...]
    anything: bool  # it has **kwargs

    def takes(self, name: str) -> bool:
        return self.anything or name in self.names


@functools.cache
def _signature(function: Callable[..., Any]) -> _Signature:
    parameters = inspect.signature(function).parameters.values()
    return _Signature(tuple(p.name for p in parameters), any(p.kind is p.VAR_KEYWORD for p in parameters))


def _made_by(layer: Layer) -> Layer:
    return layer.func if isinstance(layer, functools.partial) else layer


def build(layer: Layer, *fixed: Any, name: str | None = None, **defaults: Any) -> Any:
    """Returns `layer(*fixed, name=name, **defaults)`, without the defaults that it doesn't take or has set itself.

    ValueError for an instance of a layer, which all its places would share, and for a partial that sets what the
    network fixes.
    """
    if isinstance(layer, nn.Module):
        kind = type(layer).__name__
        raise ValueError(
            f"a network is handed what makes a layer, {kind} or functools.partial({kind}, ...), got the layer {kind}()"
        )
    signature, own = _signature(_made_by(layer)), {}
    if isinstance(layer, functools.partial):
        own, names = layer.keywords, signature.names[: len(fixed)]
        if fixed and (layer.args or own.keys() & set(names)):
            raise ValueError(
                f"{', '.join(names)} of {layer.func.__name__} are for the network to say; leave them out of "
                f"functools.partial({layer.func.__name__}, ...), and give the rest by name"
            )
    rest = {"name": name, **defaults}
    return layer(*fixed, **{key: rest[key] for key in rest if key not in own and signature.takes(key)})


def normalise(
    norm: Layer | None,
    x: jax.Array,
    condition: jax.Array | None = None,
    *,
    train: bool,
    name: str | None = None,
    **defaults: Any,
) -> jax.Array:
    """Returns `x` `[B, ..., C]`, normalised by the norm that `norm` builds under this name; unchanged for None."""
    if norm is None:
        return x
    layer = build(norm, name=name, **defaults)
    names = _signature(type(layer).__call__ if isinstance(layer, nn.Module) else layer).names
    given: dict[str, Any] = {"condition": condition, "train": train}
    given = {key: value for key, value in given.items() if key in names}
    if "use_running_average" not in names:
        return layer(x, **given)
    # Linen's own. It always writes its averages in training; where they may not change, they are dropped.
    set_already = getattr(layer, "use_running_average", None)
    average = not train if set_already is None else set_already
    given = {"use_running_average": average} if set_already is None else {}
    if average or layer.is_initializing() or layer.is_mutable_collection("batch_stats"):
        return layer(x, **given)
    alone = layer.clone(parent=None, name=None)
    return alone.apply(layer.variables, x, **given, mutable=["batch_stats"])[0]


def needs_bias(norm: Layer | None) -> bool:
    """Returns whether a layer before `norm` needs a bias. Norms subtract it again or add their own, except for
    `PixelNorm`."""
    made_by = None if norm is None else _made_by(norm)
    return made_by is None or (inspect.isclass(made_by) and issubclass(made_by, PixelNorm))
