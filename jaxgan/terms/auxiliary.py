"""Terms on a discriminator's outputs besides its logits: the class of an image, and the codes of a fake."""

import math

import jax
import jax.numpy as jnp

from jaxgan.terms.term import Example, Term, View

__all__ = ["classify_fake", "classify_real_and_fake", "information"]


def _said(example: Example, name: str, term: str) -> jax.Array:
    if name not in example:
        raise ValueError(f"{term} needs {name!r} of each example, which has {sorted(example)}")
    return example[name]


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns -log softmax(logits)[label] `[B]`; NaN for a label outside of the classes."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    column = jnp.where(labels < 0, logits.shape[1], labels).reshape(-1, 1)  # or -1 would be the last class
    return -jnp.take_along_axis(log_p, column, axis=1, mode="fill", fill_value=jnp.nan)[:, 0]


def _classes(example: Example) -> jax.Array:
    term = "an auxiliary classifier"
    return _cross_entropy(_said(example, "class", term), _said(example, "label", term))


def classify_real_and_fake(weight: float | str = 1.0) -> Term:
    """Returns a term for D: the cross-entropy (nats) of its output "class" with the labels of real and of fake
    examples, summed.

    ACGAN, Odena et al. 2017 (arXiv 1610.09585), equation 3. ValueError where "class" or "label" is missing.
    """
    return Term("class", lambda view: _classes(view.real) + _classes(view.fake), weight)


def classify_fake(weight: float | str = 1.0) -> Term:
    """Returns a term for G: the cross-entropy of D's output "class" with the labels of the fakes. ACGAN, as above; the
    part of the real examples, which G can't change, is left out."""
    return Term("class", lambda view: _classes(view.fake), weight)


def information(weight: float | str = 1.0) -> Term:
    """Returns a term for both players: minus the log-likelihood (nats) of a fake's codes under the distribution that
    the discriminator's Q predicts. Up to the codes' entropy, it is an upper bound of minus the mutual information of
    codes and images.

    `code_class` `[B, K]` under the softmax of `code0`, `code1`, ..., and `code_value` `[B, C]` under independent
    Gaussians of `code_mean` and `code_log_std`, as `samplers.codes` draws them and `heads.Codes` predicts them. Chen et
    al. 2016 (arXiv 1606.03657), equation 4; weight λ 1, less for continuous codes alone. ValueError where one is
    missing.
    """

    def function(view: View) -> jax.Array:
        fake, term = view.fake, "the information of codes"
        classes, values = _said(fake, "code_class", term), _said(fake, "code_value", term)
        total = jnp.zeros(len(classes), jnp.float32)
        for i in range(classes.shape[1]):
            total += _cross_entropy(_said(fake, f"code{i}", term), classes[:, i])
        if values.shape[1]:
            log_std = _said(fake, "code_log_std", term)
            z = (values - _said(fake, "code_mean", term)) * jnp.exp(-log_std)
            total += jnp.sum(0.5 * z**2 + log_std + 0.5 * math.log(2 * math.pi), axis=1)
        return total

    return Term("information", function, weight)
