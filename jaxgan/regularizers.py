"""Terms that hold a player back: against an overfitting discriminator, and against oscillation and collapse.

Terms as in `jaxgan.terms`. Some keep averages between steps: these need a place in the state's `extras` from the
beginning, which the function of the same name with `_start` makes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses import per_example
from jaxgan.state import TrainState
from jaxgan.terms import Example, Term, View

__all__ = [
    "consistency",
    "feature_matching",
    "historical_averaging",
    "historical_averaging_start",
    "lecam",
    "lecam_start",
]

PyTree = Any


def _kept(view: View, name: str, start: str) -> PyTree:
    if name not in view.extras:
        raise ValueError(f"the state's extras lack {name!r}; put what `{start}` returns there when the state is made")
    return view.extras[name]


def lecam(weight: float | str, decay: float = 0.99) -> Term:
    """For D: (D(x) - α_F)² + (D(G(z)) - α_R)², where α_R and α_F are moving averages of D's logits of real and of fake
    examples. Tseng et al. 2021 (arXiv 2104.03310), equation 3 (their code takes only the positive part of
    D(x) - α_F and of α_R - D(G(z)), which is nearly all of it). It keeps D's two sides near each other when data are
    few. The averages take in this step's global batch first, and begin with it.
    """

    def function(view: View) -> tuple[jax.Array, dict[str, PyTree]]:
        real, fake = (per_example(example["logits"]) for example in (view.real, view.fake))
        now = jax.lax.stop_gradient(view.mean({"real": jnp.mean(real), "fake": jnp.mean(fake)}))
        kept = jnp.where(view.step == 0, 0.0, decay)
        average = jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, _kept(view, "lecam", "lecam_start"), now)
        values = (real - average["fake"]) ** 2 + (fake - average["real"]) ** 2
        return values, view.extras | {"lecam": average}

    return Term("lecam", function, weight, across=True)


def lecam_start() -> dict[str, PyTree]:
    """The extras of `lecam` at step 0."""
    return {"lecam": {name: jnp.zeros((), jnp.float32) for name in ("real", "fake")}}


def consistency(
    transform: Callable[[jax.Array, jax.Array], jax.Array], weight: float | str = 10.0, *, fake: bool = False
) -> Term:
    """For D: (D(x) - D(T(x)))² for real images, and with `fake` for generated ones too.

    transform: T, `(images [B, H, W, C], keys [B]) -> images`, a change that keeps what a picture shows (`augment.flip`,
        `augment.shift`).
    Zhang et al. 2020 (arXiv 1910.12027), equation 4, weight 10; with fakes the balanced form of Zhao et al. 2021
    (arXiv 2002.04724), section 3.1.
    """

    def distance(view: View, example: Example, number: int) -> jax.Array:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(view.keys)
        changed = view.critic(transform(example["image"], keys), example.get("condition"))["logits"]
        return per_example((example["logits"] - changed) ** 2)

    def function(view: View) -> jax.Array:
        values = distance(view, view.real, 0)
        return values + distance(view, view.fake, 1) if fake else values

    return Term("consistency", function, weight)


def feature_matching(weight: float | str = 1.0) -> Term:
    """For G: ‖E f(x) - E f(G(z))‖², f the discriminator's output "features", E the mean over the global batch.
    Salimans et al. 2016 (arXiv 1606.03498), section 3.1. ValueError for a discriminator that doesn't say its features.
    """

    def function(view: View) -> jax.Array:
        if "features" not in view.real:
            raise ValueError(
                f"feature matching needs a discriminator that returns 'features', this one returns {sorted(view.real)}"
            )
        means = view.mean([jnp.mean(e["features"].astype(jnp.float32), axis=0) for e in (view.real, view.fake)])
        return jnp.sum((means[0] - means[1]) ** 2, keepdims=True).reshape(1)

    return Term("feature_matching", function, weight, across=True)


def historical_averaging(player: str, weight: float | str = 1.0) -> Term:
    """For either player, `generator` or `discriminator`: ‖θ - θ̄‖², θ̄ the mean of its parameters before each of its
    updates until now (0 before the first). Salimans et al. 2016, section 3.3."""

    def function(view: View) -> tuple[jax.Array, dict[str, PyTree]]:
        name = f"{player}/history"
        mean = _kept(view, name, "historical_averaging_start")
        squares = jax.tree.map(lambda p, m: jnp.sum((p - m) ** 2), view.params, mean)
        count = jnp.asarray(view.step + 1, jnp.float32)
        new = jax.tree.map(lambda p, m: m + (jax.lax.stop_gradient(p) - m) / count, view.params, mean)
        return jnp.stack(jax.tree.leaves(squares)).sum().reshape(1), view.extras | {name: new}

    return Term("history", function, weight)


def historical_averaging_start(player: str, state: TrainState) -> dict[str, PyTree]:
    """The extras of `historical_averaging` at step 0, for a player's state."""
    return {f"{player}/history": jax.tree.map(jnp.copy, state.params)}
