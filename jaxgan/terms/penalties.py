"""Gradient penalties as terms."""

import functools

import jax
import jax.numpy as jnp

from jaxgan import penalties
from jaxgan.terms.term import Example, Term, View

__all__ = ["dragan", "r1", "r2", "wgan_gp"]


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


def r1(weight: float | str, *, exact: bool = True) -> Term:
    """Returns the term `penalties.r1` on the real examples; the paper's γ/2 is weight γ/2. Without `exact` it is
    estimated from one random tangent an example, by `penalties.squared_derivative`."""
    return Term("r1", lambda view: _squared_gradient(view, view.real, exact), weight)


def r2(weight: float | str, *, exact: bool = True) -> Term:
    """Returns the term `penalties.r2` on the fake examples, as `r1`; the paper's γ/2 is weight γ/2."""
    return Term("r2", lambda view: _squared_gradient(view, view.fake, exact), weight)


def _squared_gradient(view: View, example: Example, exact: bool) -> jax.Array:
    critic, images = _critic(view, example), example[view.field]
    if exact:
        return penalties.squared_gradient_norm(critic, images)
    shape = images.shape[1:]
    tangents = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(view.keys)
    return penalties.squared_derivative(critic, images, tangents)


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
