"""Gradient penalties as terms."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from jaxgan import penalties
from jaxgan.terms.term import Example, Term, View

__all__ = ["GradientNorm", "dragan", "r1", "r2", "wgan_gp"]

GradientNorm = Literal["exact", "tangent", "difference"]
"""How a squared gradient norm is computed: exactly, along a random tangent, or by differences along one."""


def _critic(view: View, example: Example) -> penalties.Critic:
    """Returns images -> logits under the example's condition. It refuses a critic for which gradient penalties are not
    defined. Through a minibatch layer each example's gradient reaches into the others too: ProGAN and StyleGAN mean it
    so."""
    if "batch normalisation" in view.state.discriminator.across:
        raise ValueError(
            "this discriminator has batch normalisation, under which a gradient penalty is not the paper's "
            "(each example's gradient reaches into the others): build it without, e.g. norm=None"
        )
    return lambda images: view.critic(images, example.get("condition"))["logits"]


def r1(weight: float | str, *, by: GradientNorm = "exact") -> Term:
    """Returns the term `penalties.r1` on the real examples; the paper's γ/2 is weight γ/2.

    by: "tangent" estimates it from the derivative along one random tangent an example, `penalties.squared_derivative`,
        "difference" from finite differences along it, `penalties.squared_difference`. ValueError for another word.
    """
    return Term("r1", _squared_gradient("real", by), weight)


def r2(weight: float | str, *, by: GradientNorm = "exact") -> Term:
    """Returns the term `penalties.r2` on the fake examples, as `r1`; the paper's γ/2 is weight γ/2."""
    return Term("r2", _squared_gradient("fake", by), weight)


def _squared_gradient(side: str, by: GradientNorm) -> Callable[[View], jax.Array]:
    estimates = {"tangent": penalties.squared_derivative, "difference": penalties.squared_difference}
    if by not in ("exact", *estimates):
        raise ValueError(f"expected by='exact', 'tangent' or 'difference', got {by!r}")

    def function(view: View) -> jax.Array:
        example: Example = getattr(view, side)
        critic, images = _critic(view, example), example[view.field]
        if by == "exact":
            return penalties.squared_gradient_norm(critic, images)
        shape = images.shape[1:]
        tangents = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(view.keys)
        return estimates[by](critic, images, tangents)

    return function


def wgan_gp(weight: float | str = 10.0) -> Term:
    """Returns the term `penalties.wgan_gp` between the real and the fake examples, under the real ones' conditions."""

    def function(view: View) -> jax.Array:
        mix = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(view.keys)
        return penalties.wgan_gp(_critic(view, view.real), view.real[view.field], view.fake[view.field], mix)

    return Term("wgan_gp", function, weight)


def dragan(weight: float | str = 10.0) -> Term:
    """Returns the term `penalties.dragan` around the real examples. The standard deviation is that of this device's
    share."""

    def function(view: View) -> jax.Array:
        uniform, shape = functools.partial(jax.random.uniform, dtype=jnp.float32), view.real[view.field].shape[1:]
        mix, noise = (
            jax.vmap(lambda key, n=n, shape=shape: uniform(jax.random.fold_in(key, n), shape))(view.keys)
            for n, shape in enumerate([(), shape])
        )
        return penalties.dragan(_critic(view, view.real), view.real[view.field], noise, mix)

    return Term("dragan", function, weight, across=True)
