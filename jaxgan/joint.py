"""Joint steps: two updates on one forward pass. The second update's pass is computed first, the first update learns
from its outputs, and then the second update uses the gradient of the same pass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.iteration import Metrics, Step, merged
from jaxgan.nets import nets_of
from jaxgan.state import GANState
from jaxgan.update import Result, Update

__all__ = ["joint"]

PyTree = Any


def joint(first: Update, second: Update, *, simultaneous: bool = False) -> Step:
    """Returns `first` and then `second` as one step on a single pass: the `make` of `second`, whose `vjp` is kept while
    `first` learns.

    With the same draws it equals one update after the other, with one pass less. With `simultaneous`, `second` sees the
    players as they were before `first`. ValueError where one has no `make`, another than the second, or accumulates
    (the pass is over the complete batch), where they share a learner, or differ in `axis_name`.
    """
    _check_joint(first, second)

    def step(state: GANState, batch: PyTree) -> tuple[GANState, Metrics]:
        second.check(state)
        draw, old, now = second.draw(state, batch), second.params(state), second.at(state, batch)

        def generate(params: dict[str, PyTree]) -> Any:
            current = second.with_params(now, params)
            nets = nets_of(current, second.learns, draw)
            generated = second.make(nets, batch, draw, current) if second.make else None
            floats, rest = _apart(generated)
            return floats, ({name: nets[name].pass_state for name in second.learns}, rest)

        floats, pull_back, (pass_states, rest) = jax.vjp(generate, old, has_aux=True)
        after, first_metrics = first.learn(state, batch, _whole(floats, rest))
        judged = after.replace(**{name: state.players[name] for name in first.learns}) if simultaneous else after
        judged = judged.replace(hyper=now.hyper)

        def total(params: dict[str, PyTree], floats: list[jax.Array]) -> tuple[jax.Array, Result]:
            return second.total(params, judged, batch, draw, _whole(floats, rest), pass_states)

        # Losses may depend on the parameters through the pass or directly (path length, regularisers).
        (direct, cotangent), result = jax.grad(total, (0, 1), has_aux=True)(old, floats)
        gradients = jax.tree.map(jnp.add, direct, pull_back(cotangent)[0])
        after, metrics = second.move(after, gradients, result, now.hyper)
        return after, merged(first_metrics, metrics)

    return Step(step, second.axis_name, size=second.size)


def _check_joint(first: Update, second: Update) -> None:
    if (most := max(first.accumulate, second.accumulate)) != 1:
        raise ValueError(
            f"a joint step can't accumulate over {most} parts: it keeps the generator's pass over the whole batch; use "
            "iteration(first, second)"
        )
    if first.make is None or second.make is None:
        raise ValueError(
            "a joint step shares the result of `make`: give it to both updates, or use iteration(first, second)"
        )
    if first.make != second.make:
        raise ValueError("the updates of a joint step have different functions `make`; give both the same one")
    if shared := set(first.learns) & set(second.learns):
        raise ValueError(f"{sorted(shared)} would learn in both updates of a joint step, on a pass from before")
    if first.axis_name != second.axis_name:
        raise ValueError(f"a joint step's updates differ in axis_name, {first.axis_name!r} and {second.axis_name!r}")


def _apart(tree: PyTree) -> tuple[list[jax.Array], Any]:
    """Splits a pytree into its floats, which have gradients, and the rest, a pytree that `_whole` puts them
    back into."""
    leaves, structure = jax.tree.flatten(tree)
    is_float = [jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves]
    floats = [x for x, has_gradient in zip(leaves, is_float, strict=True) if has_gradient]
    others = [None if has_gradient else x for x, has_gradient in zip(leaves, is_float, strict=True)]
    return floats, (others, _Static(structure))


def _whole(floats: Sequence[jax.Array], rest: Any) -> PyTree:
    others, structure = rest
    queue = iter(floats)
    return jax.tree.unflatten(structure.value, [next(queue) if x is None else x for x in others])


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    value: Any
