"""Better samples of a trained generator by its discriminator: rejection sampling, and Metropolis-Hastings chains.

Both need the log ratio log p(x)/q(x) of the data's density and the generator's. It is the logit of a discriminator that
is optimal for the logistic loss (`minimax`, `non_saturating`) on as many real as generated examples, since D = p/(p +
q) then (Goodfellow et al. 2014, arXiv 1406.2661, proposition 1). Of other discriminators, and of those that have
learned by heart or were stopped early, logits must be calibrated first, on examples that D has not seen.

Log ratios are `[N]`, in nats, of examples that are drawn independently of each other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "Bound",
    "Calibration",
    "Chain",
    "acceptance",
    "bound_of",
    "calibrate",
    "calibration_z",
    "metropolis_hastings",
    "rejection_logits",
]

PyTree = Any
NEWTON = 100  # steps, of which a dozen are enough
EPSILON = 1e-8  # keeps the logarithm finite for the example that has the largest ratio


class Calibration(NamedTuple):
    """A log ratio as a linear function of a logit: slope · logit + shift."""

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, logits: jax.Array) -> jax.Array:
        """Returns the log ratios of logits `[N]`."""
        return self.slope * logits + self.shift


def calibrate(real: np.ndarray, fake: np.ndarray) -> Calibration:
    """Fits log ratios to a discriminator's logits of real `[N]` and of generated examples `[M]`, neither of which it
    has been trained on: a logistic regression of real against generated on the logit, in float64, less log N/M.

    The targets are Platt's, (N + 1)/(N + 2) and 1/(M + 2), with which the slope stays finite where logits tell all
    examples apart (Platt 1999, "Probabilistic outputs for support vector machines", section 2.2). Turner et al. 2019
    (arXiv 1811.11357), section 3.2, calibrate likewise. A slope of 0 or below says that D tells nothing, or takes
    generated examples for real. ValueError without examples of either kind, and for logits that are not finite."""
    ones, others = (np.asarray(logits, np.float64).ravel() for logits in (real, fake))
    if not (ones.size and others.size and np.isfinite(ones).all() and np.isfinite(others).all()):
        raise ValueError(
            f"expected finite logits of real and of generated examples, got {ones.size} and {others.size}, of which "
            f"{np.isfinite(ones).sum()} and {np.isfinite(others).sum()} are finite"
        )
    both = np.concatenate([ones, others])
    mean, scale = both.mean(), both.std() or 1.0
    x = np.stack([(both - mean) / scale, np.ones_like(both)], axis=1)
    high, low = (ones.size + 1) / (ones.size + 2), 1 / (others.size + 2)
    targets = np.repeat([high, low], [ones.size, others.size])

    def loss(weights: np.ndarray) -> float:
        z = x @ weights
        return float(np.sum(np.logaddexp(0, z) - targets * z))

    weights = np.zeros(2)
    for _ in range(NEWTON):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - targets)
        step = np.linalg.lstsq(x.T @ (x * (p * (1 - p))[:, None]), gradient, rcond=None)[0]
        size = next((0.5**i for i in range(30) if loss(weights - 0.5**i * step) <= loss(weights)), 0.0)
        weights = weights - size * step
        if size * np.abs(step).max() < 1e-10:
            break
    slope = weights[0] / scale
    shift = weights[1] - slope * mean - np.log(ones.size / others.size)
    return Calibration(float(slope), float(shift))


def calibration_z(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns how many standard deviations the number of real examples among real `[N]` and generated ones `[M]` is
    above what their log ratios say: Σ (y - p) / √Σ p (1 - p), where y is 1 for real ones and p = σ(log ratio + log
    N/M). About N(0, 1) of a calibrated discriminator. Turner et al. 2019 (arXiv 1811.11357), section 3.2."""
    ones, others = (np.asarray(ratios, np.float64).ravel() for ratios in (real, fake))
    p = _sigmoid(np.concatenate([ones, others]) + np.log(ones.size / others.size))
    variance = np.sum(p * (1 - p))
    return float((ones.size - p.sum()) / np.sqrt(variance)) if variance else 0.0


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


class Bound(NamedTuple):
    """What rejection sampling compares log ratios with: their `maximum`, and `gamma`, above 0 where fewer than exact
    rejection sampling accepts are wanted, below 0 where more are."""

    maximum: jax.Array
    gamma: jax.Array


def rejection_logits(log_ratios: jax.Array, maximum: jax.Array) -> jax.Array:
    """Returns F = r - M - log(1 - exp(r - M - ε)) of log ratios r `[N]` and their maximum M: the logit of the
    probability exp(r - M) with which rejection sampling accepts. Azadi et al. 2019 (arXiv 1810.06758), equation 8 with
    γ = 0. A ratio above M counts as M."""
    below = jnp.minimum(log_ratios - maximum, 0.0)
    return below - jnp.log(-jnp.expm1(below - EPSILON))


def bound_of(log_ratios: jax.Array, percentile: float | None = None) -> Bound:
    """Returns the bound of the log ratios `[N]` of a burn-in: their maximum and, as γ, this percentile of F, so that
    100 - percentile per cent of such examples are accepted with a probability above one half; 0, exact rejection
    sampling, for None. Azadi et al. 2019 (arXiv 1810.06758), section 3.2, which takes the percentile of every batch
    anew; of a burn-in's it is the same for all examples, and no example's fate depends on those beside it."""
    maximum = jnp.max(log_ratios)
    if percentile is None:
        return Bound(maximum, jnp.zeros_like(maximum))
    return Bound(maximum, jnp.percentile(rejection_logits(log_ratios, maximum), percentile))


def acceptance(log_ratios: jax.Array, bound: Bound) -> jax.Array:
    """Returns the probability with which discriminator rejection sampling accepts examples of these log ratios `[N]`:
    σ(F - γ), `[N]`. What is accepted has the density p where γ is 0 and the maximum is one. Azadi et al. 2019 (arXiv
    1810.06758), equations 6 to 8."""
    return jax.nn.sigmoid(rejection_logits(log_ratios, bound.maximum) - bound.gamma)


class Chain(NamedTuple):
    """N Metropolis-Hastings chains at their present place: an example each, any pytree of arrays `[N, ...]`, its log
    ratio `[N]`, and how many proposals it has accepted, int32 `[N]`."""

    example: PyTree
    log_ratio: jax.Array
    accepted: jax.Array

    @classmethod
    def start(cls, example: PyTree, log_ratio: jax.Array) -> "Chain":
        """Returns chains that begin at these examples; at real ones they need no burn-in."""
        return cls(example, log_ratio, jnp.zeros(log_ratio.shape, jnp.int32))


def metropolis_hastings(
    chain: Chain, propose: Callable[[PyTree], tuple[PyTree, jax.Array]], given: PyTree, uniforms: jax.Array
) -> Chain:
    """Moves chains on by K proposals, each of which is drawn from the generator, whatever the chain's place: accepted
    with probability min(1, exp(r' - r)) for its log ratio r' and the present one r. Turner et al. 2019 (arXiv
    1811.11357), equation 6, where the ratio is (1/D(x) - 1)/(1/D(x') - 1).

    propose: `given -> examples, log ratios [N]`, pure; each is given the next of `given`, a pytree of arrays `[K,
    ...]`, such as keys. uniforms: `[K, N]` in [0, 1). In the long run places have the density p, but a chain that has
    accepted none is still where it started: after so many proposals `accepted` says which."""

    def advance(chain: Chain, inputs: tuple[PyTree, jax.Array]) -> tuple[Chain, None]:
        example, log_ratio = propose(inputs[0])
        accepts = jnp.log(inputs[1]) <= log_ratio - chain.log_ratio

        def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(accepts.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

        example = jax.tree.map(chosen, example, chain.example)
        return Chain(example, chosen(log_ratio, chain.log_ratio), chain.accepted + accepts.astype(jnp.int32)), None

    return jax.lax.scan(advance, chain, (given, uniforms))[0]
