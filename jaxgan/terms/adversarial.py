"""Adversarial losses as terms."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.losses import AdversarialLoss
from jaxgan.state import GANState
from jaxgan.terms.term import Example, Term, View

__all__ = ["d_loss", "g_loss", "unrolled"]


def d_loss(loss: AdversarialLoss, flip: float = 0.0) -> Term:
    """Returns the discriminator's side of `loss` on the global batch, as the term `adversarial`.

    With `flip`, each example's target is swapped with that probability: noisy labels, against a discriminator that is
    too sure (Chintala et al. 2016, "How to train a GAN", point 6). ValueError for a loss without targets.
    """
    if not flip:
        return Term(
            "adversarial",
            lambda view: loss.d(*view.gather((view.real["logits"], view.fake["logits"]))),
            across=loss.across,
        )
    target = loss.target
    if target is None or not 0 < flip <= 1:
        raise ValueError(
            f"flip={flip}: labels are flipped with a probability from 0 to 1, in losses that have targets (minimax, "
            "non_saturating, least_squares)"
        )

    def function(view: View) -> jax.Array:
        share = jnp.float32(flip)  # under jax_enable_x64 a Python number would change the draw, to float64
        flipped = jax.vmap(lambda key: jax.random.bernoulli(key, share, (2,)))(view.keys).astype(jnp.float32)
        return target(view.real["logits"], 1.0 - flipped[:, 0]) + target(view.fake["logits"], flipped[:, 1])

    return Term("adversarial", function, across=loss.across)


def g_loss(loss: AdversarialLoss) -> Term:
    """Returns the generator's side of `loss` on the global batch, as the term `adversarial`."""
    return Term(
        "adversarial",
        lambda view: loss.g(*view.gather((view.fake["logits"], view.real["logits"]))),
        across=loss.across,
    )


def unrolled(loss: AdversarialLoss, d_step: Callable[[GANState, Example], tuple[GANState, Any]], n: int) -> Term:
    """Returns the generator's side of `loss` against the discriminator after `n` more of its steps; the generator's
    gradient flows through them. Metz et al. 2017 (arXiv 1611.02163), equation 4 to 6.

    d_step: `make_d_step(...)`; its optimiser is differentiated too, so Adam needs `eps_root` (its root has no
        derivative at 0). The steps use this step's real images, and the latents that D's next steps would draw.
    Only the generator sees the unrolled discriminator; D itself is trained as ever. ValueError for n below 1.
    """
    if n < 1:
        raise ValueError(f"expected at least 1 unrolled step, got {n}")

    def function(view: View) -> jax.Array:
        ahead, _ = jax.lax.scan(lambda state, _: (d_step(state, view.batch)[0], None), view.state, length=n)
        real, fake = (
            view.critic(example[view.field], example.get("condition"), ahead.discriminator)["logits"]
            for example in (view.real, view.fake)
        )
        return loss.g(*view.gather((fake, real)))

    return Term("adversarial", function, across=True)
