"""Terms: the parts of a player's objective, which is their weighted sum.

A term is a name, a function of a `View` and a weight. The adversarial loss is a term, and so are penalties, auxiliary
classifiers, unrolled steps and whatever a paper adds: no paper needs a flag in the step. The function returns values
`[B]` (extra axes are averaged), `(values, extras)` where it keeps a state of its own between steps, or an `Outcome`
where it reports metrics of its own as well.

Where the batch is on several devices under `pmap`, `shard_map` or `vmap(axis_name=...)`, a term sees the examples of
its own device, b of B. A term that looks across examples gets the others by `view.gather`; its values may then be those
of all B examples, the same on every device. The step averages values and extras over devices either way.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.losses import per_example
from jaxgan.nets import Nets
from jaxgan.state import GANState, TrainState
from jaxgan.update import Outcome

__all__ = ["Example", "Term", "View", "every", "initial_extras"]

PyTree = Any

Example = dict[str, jax.Array]
"""What is known of a batch of examples, by name: arrays `[B, ...]`, "image", "label", "latent", "logits"."""


@dataclasses.dataclass(frozen=True)
class View:
    """All that a term may use.

    real, fake: examples `{"image": [B, H, W, C], ...}` with the inputs of the fakes (labels, latents, conditions) and
        the discriminator's outputs for them ("logits" and others).
    critic: `(images, condition, by) -> dict`, the discriminator's outputs, with its non-parameter variables frozen;
        `by` may be another state of it.
    generate: `inputs -> images`, the generator with its variables frozen.
    nets: both networks, for other methods of theirs: `view.nets["generator"].frozen(w, method="synthesize")`.
    params: parameters of the player being trained, the ones that are differentiated.
    state: the GAN's state, in which the player being trained has these parameters.
    batch: the batch as the step got it.
    field: the part of an example that is generated and judged, such as "image".
    extras: states of adaptive terms, after earlier terms of this step.
    key: this term's own key; keys: one more for every example, `[B]`, the same on any number of devices.
    step: the number of updates that this player has made.
    count: the examples of the update, on all devices and in all parts of an accumulated batch.
    gather: a pytree of this device's `[b, ...]` -> that of all devices, `[B, ...]`, in the order of the global batch.
    mean: a pytree -> its floats averaged over devices; all other leaves must be equal there already, as counters are.
    """

    real: Example
    fake: Example
    critic: Callable[..., Example]
    generate: Callable[[Example], jax.Array]
    nets: Nets
    params: PyTree
    state: GANState
    batch: Example
    field: str
    extras: dict[str, PyTree]
    key: jax.Array
    keys: jax.Array
    step: jax.Array
    count: int
    gather: Callable[[PyTree], PyTree]
    mean: Callable[[PyTree], PyTree]


TermFunction = Callable[[View], Any]


class Term(NamedTuple):
    """A term of a player's objective. weight: a number, or a name in the state's `hyper`, which a sweep may then vary.
    across: whether an example's value depends on others of its batch, so that parts of the batch give another sum than
    the complete batch. init: `players -> extras`, what the term stores between steps, by name, at step 0; see
    `initial_extras`."""

    name: str
    function: TermFunction
    weight: float | str = 1.0
    across: bool = False
    init: Callable[[Mapping[str, TrainState]], dict[str, PyTree]] | None = None


def initial_extras(players: Mapping[str, TrainState], *terms: Sequence[Term]) -> dict[str, PyTree]:
    """Returns what the terms of all players store between steps, at step 0, as `GANState.create` takes it. ValueError
    where two of them use one name."""
    extras: dict[str, PyTree] = {}
    for term in (term for of_one in terms for term in of_one):
        own = term.init(players) if term.init else {}
        if shared := sorted(set(own) & set(extras)):
            raise ValueError(f"two terms would keep {', '.join(shared)}; only one may")
        extras |= own
    return extras


def every(term: Term, n: int) -> Term:
    """Returns `term` in every n-th update of its player, times n, and 0 in the updates between.

    Lazy regularisation: Karras et al. 2020 (arXiv 1912.04958), section 3.1. A skipped value is not computed. The term's
    own metrics are 0 in between too. ValueError for n below 1.
    """
    if n < 1:
        raise ValueError(f"expected every n-th update, n at least 1, got {n}")

    def function(view: View) -> Outcome:
        def compute() -> Outcome:
            values, extras, metrics = evaluate(term, view)
            metrics = {name: jnp.mean(x) for name, x in metrics.items()}
            # Means over devices, as both branches must have one type: under shard_map what is the same on every
            # device, as zeros are, has another type than what may differ.
            return Outcome(n * view.mean(jnp.mean(values, keepdims=True)), *view.mean((extras, metrics)))

        shapes = jax.eval_shape(lambda: compute()._replace(extras={}))
        skipped = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.cond(view.step % n == 0, compute, lambda: skipped._replace(extras=view.extras))

    return term._replace(function=function)


def evaluate(term: Term, view: View) -> tuple[jax.Array, dict[str, PyTree], Mapping[str, jax.Array]]:
    """Returns the term's values, float32 and unweighted, the extras after it, and its own metrics."""
    result = term.function(view)
    if isinstance(result, Outcome):
        return per_example(result.losses), {**view.extras, **result.extras}, result.metrics
    values, extras = result if isinstance(result, tuple) else (result, view.extras)
    return per_example(values), extras, {}
