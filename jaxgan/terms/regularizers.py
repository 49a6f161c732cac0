"""Regularisers as terms: against an overfitting discriminator, and against oscillation and collapse.

Terms as in `jaxgan.terms`. Some keep averages between steps in the state's `extras`; `terms.initial_extras` returns
their start.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses import per_example
from jaxgan.penalties import orthogonality
from jaxgan.terms.term import Example, Term, View

__all__ = [
    "consistency",
    "feature_distance",
    "feature_matching",
    "historical_averaging",
    "lecam",
    "orthogonal",
]

PyTree = Any


def _own_extras(view: View, name: str) -> PyTree:
    if name not in view.extras:
        raise ValueError(
            f"the state's extras lack {name!r}; make the state with extras=terms.initial_extras(players, terms)"
        )
    return view.extras[name]


def lecam(weight: float | str, decay: float = 0.99) -> Term:
    """Returns LeCam's term for D: (D(x) - α_F)² + (D(G(z)) - α_R)², where α_R and α_F are moving averages of D's logits
    of real and of fake examples. Tseng et al. 2021 (arXiv 2104.03310), equation 3 (their code takes only the positive
    part of D(x) - α_F and of α_R - D(G(z)), which is nearly all of it). It keeps D's two sides near each other when
    there are few data. The averages include this step's global batch, and start with the first one.
    """

    def function(view: View) -> tuple[jax.Array, dict[str, PyTree]]:
        real, fake = (per_example(example["logits"]) for example in (view.real, view.fake))
        now = jax.lax.stop_gradient(view.mean({"real": jnp.mean(real), "fake": jnp.mean(fake)}))
        share = jnp.where(view.step == 0, 0.0, decay)
        average = jax.tree.map(lambda old, new: share * old + (1 - share) * new, _own_extras(view, "lecam"), now)
        values = (real - average["fake"]) ** 2 + (fake - average["real"]) ** 2
        return values, view.extras | {"lecam": average}

    zero = jnp.zeros((), jnp.float32)
    return Term("lecam", function, weight, across=True, init=lambda players: {"lecam": {"real": zero, "fake": +zero}})


def consistency(
    transform: Callable[[jax.Array, jax.Array], jax.Array], weight: float | str = 10.0, *, fake: bool = False
) -> Term:
    """Returns a term for D: (D(x) - D(T(x)))² for real images, and with `fake` for generated ones too.

    transform: T, `(images [B, H, W, C], keys [B]) -> images`, a change that keeps what a picture shows (`augment.flip`,
        `augment.shift`).
    Zhang et al. 2020 (arXiv 1910.12027), equation 4, weight 10; with fakes the balanced form of Zhao et al. 2021
    (arXiv 2002.04724), section 3.1.
    """

    def distance(view: View, example: Example, number: int) -> jax.Array:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(view.keys)
        changed = view.critic(transform(example[view.field], keys), example.get("condition"))["logits"]
        return per_example((example["logits"] - changed) ** 2)

    def function(view: View) -> jax.Array:
        values = distance(view, view.real, 0)
        return values + distance(view, view.fake, 1) if fake else values

    return Term("consistency", function, weight)


def feature_matching(weight: float | str = 1.0) -> Term:
    """Returns a term for G: ‖E f(x) - E f(G(z))‖², f the discriminator's output "features", E the mean over the global
    batch. Salimans et al. 2016 (arXiv 1606.03498), section 3.1. ValueError for a discriminator that doesn't return its
    features.
    """

    def function(view: View) -> jax.Array:
        if "features" not in view.real:
            raise ValueError(
                "feature matching needs a discriminator that returns 'features'; of an example there are "
                f"{sorted(view.real)}"
            )
        means = view.mean([jnp.mean(e["features"].astype(jnp.float32), axis=0) for e in (view.real, view.fake)])
        return jnp.sum((means[0] - means[1]) ** 2, keepdims=True).reshape(1)

    return Term("feature_matching", function, weight, across=True)


def feature_distance(real: PyTree, fake: PyTree) -> PyTree:
    """Returns |f(x) - f(G(z))| of a discriminator's feature maps `[B, ...]`, layer by layer, as losses of an objective.

    Wang et al. 2018 (arXiv 1711.11585), equation 4 (pix2pixHD), also MelGAN and HiFi-GAN: example against example,
    where `feature_matching` compares means over the batch. No gradient flows into the real side. ValueError where
    shapes differ.
    """

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape != y.shape:
            raise ValueError(f"feature maps of real and fake examples differ in shape, {x.shape} and {y.shape}")
        return jnp.abs(jax.lax.stop_gradient(x) - y)

    return jax.tree.map(distance, real, fake)


def historical_averaging(player: str, weight: float | str = 1.0) -> Term:
    """Returns a term for either player, `generator` or `discriminator`: ‖θ - θ̄‖², θ̄ the mean of its parameters before
    each of its updates until now (0 before the first). Salimans et al. 2016, section 3.3."""

    name = f"{player}/history"

    def function(view: View) -> tuple[jax.Array, dict[str, PyTree]]:
        mean = _own_extras(view, name)
        squares = jax.tree.map(lambda p, m: jnp.sum((p - m) ** 2), view.params, mean)
        count = jnp.asarray(view.step + 1, jnp.float32)
        new = jax.tree.map(lambda p, m: m + (jax.lax.stop_gradient(p) - m) / count, view.params, mean)
        return jnp.stack(jax.tree.leaves(squares)).sum().reshape(1), view.extras | {name: new}

    return Term(
        "history", function, weight, init=lambda players: {name: jax.tree.map(jnp.copy, players[player].params)}
    )


def orthogonal(weight: float | str = 1e-4) -> Term:
    """Returns a term for either player: how far the outputs of its layers are from being orthogonal to each other,
    `penalties.orthogonality` of its parameters. Brock et al. 2019 (arXiv 1809.11096), equation 3: on a generator, which
    then takes latents that are truncated."""
    return Term("orthogonal", lambda view: orthogonality(view.params).reshape(1), weight)
