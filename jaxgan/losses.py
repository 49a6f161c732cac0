"""Adversarial losses on logits, in matched pairs.

A loss is an `AdversarialLoss(d, g)`:

    d(real_logits, fake_logits) -> [B]      what the discriminator minimises
    g(fake_logits, real_logits) -> [B]      what the generator minimises

Each player's own concern comes first; `g` may be left without real logits where the loss ignores them. Logits are
unbounded scores (no sigmoid before them) of any shape `[B, ...]`, both of the same shape; they become float32, and axes
after the first (a PatchGAN's map) are averaged within the example. Of a pytree of logits (scales, periods) the losses
of its leaves are summed, whatever their sizes. The caller takes the mean over the batch. Losses are written with
`softplus`, which stays finite where `log(sigmoid(x))` does not. Below, D(x) is a real example's logit, D(G(z)) a fake
one's, s the sigmoid.

Losses that hold a logit against a target (1 for real, 0 for fake) can do so against another one: `smoothed` softens
the targets, and `terms.d_loss` swaps some.

A loss may look across examples: B is the global batch. Whoever has it on several devices gathers the logits first, as
`terms.d_loss` and `terms.g_loss` do.

`perceptual_loss` and `style_distance` compare feature maps, of a pretrained network or of D, and `total_variation` is
of images; they are no such pairs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = [
    "AdversarialLoss",
    "hinge",
    "least_squares",
    "minimax",
    "non_saturating",
    "per_example",
    "perceptual_loss",
    "relativistic",
    "relativistic_average",
    "smoothed",
    "style_distance",
    "sum_of_means",
    "total_variation",
    "wasserstein",
]

PyTree = Any
Pair = Callable[..., jax.Array]


class AdversarialLoss(NamedTuple):
    """A matched pair of losses, the discriminator's and the generator's; see the module's docstring.

    target: `(logits, targets [B]) -> [B]`, D's loss for logits whose targets are in [0, 1], 1 meaning real, so that
    d(real, fake) = target(real, 1) + target(fake, 0). None where the loss has no targets. across: whether an example's
    loss depends on the others.
    """

    d: Pair
    g: Pair
    target: Pair | None = None
    across: bool = False


def per_example(values: jax.Array) -> jax.Array:
    """Returns the mean over every axis but the first, in float32: `[B, ...] -> [B]`. ValueError for a scalar."""
    if jnp.ndim(values) == 0:
        raise ValueError("expected values of shape [B, ...], got a scalar; losses and terms keep the batch axis")
    return jnp.mean(values.astype(jnp.float32).reshape(values.shape[0], -1), axis=1)


def sum_of_means(values: PyTree) -> jax.Array:
    """Returns the sum of the means of a pytree's leaves, values `[B, ...]`: a float32 scalar, 0 without leaves."""
    means = [jnp.mean(per_example(x)) for x in jax.tree.leaves(values)]
    return sum(means[1:], means[0]) if means else jnp.zeros((), jnp.float32)


def _paired(function: Pair, alone: bool = False) -> Pair:
    """Returns `function` on pairs of logits. `alone`: the second has no influence and may be missing."""

    def loss(first: PyTree, second: PyTree = None) -> jax.Array:
        if second is None and not alone:
            raise ValueError("this loss compares real with fake logits: give it both")
        pairs = _pairs(first, first if second is None else second)
        return _sum([per_example(function(x.astype(jnp.float32), y.astype(jnp.float32))) for x, y in pairs])

    return loss


def _pairs(first: PyTree, second: PyTree) -> list[tuple[jax.Array, jax.Array]]:
    """Returns the leaves of both in pairs."""
    ones, others = jax.tree.leaves(first), jax.tree.leaves(second)
    if [x.shape for x in ones] != [x.shape for x in others]:
        # [B, 1] against [B] would broadcast to [B, B]: it trains plausibly and is wrong.
        shapes = (" and ".join(str(x.shape) for x in leaves) for leaves in (ones, others))
        raise ValueError(
            f"real and fake logits differ in shape, {', '.join(shapes)}; "
            "give the loss as many fakes as reals, from one discriminator"
        )
    return list(zip(ones, others, strict=True))


def _sum(values: list[jax.Array]) -> jax.Array:
    if not values:
        raise ValueError("expected logits, got a pytree without arrays")
    return sum(values[1:], values[0])


def _loss(d: Pair, g: Pair, alone: bool = True) -> AdversarialLoss:
    return AdversarialLoss(_paired(d), _paired(g, alone))


def _targeted(cost: Pair, g: Pair) -> AdversarialLoss:
    """Returns the loss where D has the loss `cost(logits, targets)`, of one shape: real logits against 1, fake ones
    against 0."""

    def one(logits: jax.Array, targets: jax.Array) -> jax.Array:
        if targets.shape != logits.shape[:1]:
            raise ValueError(f"expected targets of shape [B], got {targets.shape} for logits of shape {logits.shape}")
        targets = targets.astype(jnp.float32).reshape(targets.shape + (1,) * (logits.ndim - 1))
        return per_example(cost(logits.astype(jnp.float32), targets))

    def target(logits: PyTree, targets: jax.Array) -> jax.Array:
        return _sum([one(x, targets) for x in jax.tree.leaves(logits)])

    return AdversarialLoss(_d_of(target), _paired(g, alone=True), target)


def _d_of(target: Pair) -> Pair:
    """Returns D's loss for real logits against 1 and fake ones against 0."""

    def d(real: PyTree, fake: PyTree) -> jax.Array:
        ones = jnp.ones(_pairs(real, fake)[0][0].shape[:1], jnp.float32)
        return target(real, ones) + target(fake, 0.0 * ones)

    return d


softplus = jax.nn.softplus  # log(1 + e^x); -log s(x) = softplus(-x), -log(1 - s(x)) = softplus(x)


def _cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns -t log s(x) - (1 - t) log(1 - s(x))."""
    return targets * softplus(-logits) + (1.0 - targets) * softplus(logits)


minimax = _targeted(_cross_entropy, lambda fake, real: -softplus(fake))
"""D: -log s(D(x)) - log(1 - s(D(G(z)))); G: log(1 - s(D(G(z)))), which saturates: its gradient vanishes where D is sure
of the fakes. Goodfellow et al. 2014 (arXiv 1406.2661), equation 1."""

non_saturating = _targeted(_cross_entropy, lambda fake, real: softplus(-fake))
"""D as in `minimax`; G: -log s(D(G(z))). Goodfellow et al. 2014, end of section 3."""

least_squares = _targeted(
    lambda logits, targets: 0.5 * (logits - targets) ** 2,
    lambda fake, real: 0.5 * (fake - 1.0) ** 2,
)
"""D: ½ (D(x) - 1)² + ½ D(G(z))²; G: ½ (D(G(z)) - 1)². Mao et al. 2017 (arXiv 1611.04076), equation 9. The halves are
the paper's; code without them trains at twice the rate under SGD."""

hinge = _loss(
    lambda real, fake: jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake),
    lambda fake, real: -fake,
)
"""D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))); G: -D(G(z)). Lim & Ye 2017 (arXiv 1705.02894); Miyato et al. 2018
(arXiv 1802.05957), equations 16 and 17. A hinge for G as well, as some tutorials have it, would give G no gradient from
exactly those fakes that D holds to be real by a margin, and so stop it short of the data."""

wasserstein = _loss(lambda real, fake: fake - real, lambda fake, real: -fake)
"""D: D(G(z)) - D(x); G: -D(G(z)). Arjovsky et al. 2017 (arXiv 1701.07875), equation 2. It needs a Lipschitz constraint:
`penalties.wgan_gp`, spectral normalisation or weight clipping."""

relativistic = _loss(
    lambda real, fake: softplus(fake - real),
    lambda fake, real: softplus(real - fake),
    alone=False,
)
"""Relativistic pairing GAN, example i against example i. D: -log s(D(x) - D(G(z))); G: -log s(D(G(z)) - D(x)).
Jolicoeur-Martineau 2018 (arXiv 1807.00734), RSGAN; the loss of R3GAN (arXiv 2501.05441), equation 2 with
f(t) = -log(1 + e^-t)."""


def _relativistic_average(own: jax.Array, other: jax.Array) -> jax.Array:
    """Returns the loss of `own`, which should be above the mean of `other`, plus that of `other`, which should be below
    the mean of `own`."""
    return softplus(jnp.mean(other) - own) + softplus(other - jnp.mean(own))


relativistic_average = _loss(_relativistic_average, _relativistic_average, alone=False)._replace(across=True)
"""Every example against the mean E of the other kind. D: -log s(D(x) - E D(G(z))) - log(1 - s(D(G(z)) - E D(x)));
G: the same with the roles swapped. Jolicoeur-Martineau 2018 (arXiv 1807.00734), RaSGAN. E is over the whole batch and,
where logits are maps, over all their patches. The author's code halves the sum, and its first version had
E D(G(z)) - D(x) in the second term as well; neither is the paper's."""


def smoothed(loss: AdversarialLoss, real: float = 0.9, fake: float = 0.0) -> AdversarialLoss:
    """Returns `loss` with D's targets `real` instead of 1 and `fake` instead of 0, 0 ≤ fake < real ≤ 1; G's side stays.

    One-sided label smoothing (Salimans et al. 2016, arXiv 1606.03498, section 3.4) has `fake` at 0: with a positive one
    the fakes' density is in the numerator of D's optimum, and fakes far from the data are not pushed towards it.
    ValueError for a loss without targets.
    """
    inner = loss.target
    if inner is None:
        raise ValueError("this loss has no targets to smooth; minimax, non_saturating and least_squares have")
    if not 0.0 <= fake < real <= 1.0:
        raise ValueError(f"expected targets 0 ≤ fake < real ≤ 1, got real={real}, fake={fake}")

    def target(logits: PyTree, targets: jax.Array) -> jax.Array:
        return inner(logits, fake + (real - fake) * targets.astype(jnp.float32))

    return AdversarialLoss(_d_of(target), loss.g, target, loss.across)


def perceptual_loss(first: PyTree, second: PyTree, *, squared: bool = False) -> jax.Array:
    """Returns the perceptual loss of two pytrees of feature maps `[B, ...]`, leaf by leaf (layers): the mean over
    layers of the mean absolute difference, or with `squared` of the mean squared one, float32 `[B]`.

    Squared, of one layer, it is the feature reconstruction loss of Johnson et al. 2016 (arXiv 1603.08155), equation 2,
    and that of SRGAN (Ledig et al. 2017, arXiv 1609.04802, equation 5) divided by the number of channels; absolute,
    ESRGAN's as its authors trained it. ValueError for maps of different shapes, whose difference would broadcast, and
    for none.
    """
    ones, others = jax.tree.leaves(first), jax.tree.leaves(second)
    shapes = [[x.shape for x in leaves] for leaves in (ones, others)]
    if shapes[0] != shapes[1] or not ones:
        raise ValueError(f"expected two times feature maps of the same shapes, got {shapes[0]} and {shapes[1]}")
    differences = [x.astype(jnp.float32) - y.astype(jnp.float32) for x, y in zip(ones, others, strict=True)]
    return _sum([per_example(x**2 if squared else jnp.abs(x)) for x in differences]) / len(differences)


def style_distance(first: PyTree, second: PyTree) -> jax.Array:
    """Returns the distance of two styles, as feature maps `[B, H, W, C]` or a pytree of them (layers): the sum over
    layers of the mean over channels of (μ - μ')² + (σ - σ')², float32 `[B]`. μ and σ are a channel's mean and deviation
    over the pixels, with 1e-5 under the root; H and W may differ between both.

    The style loss of Huang & Belongie 2017 (arXiv 1703.06868), equation 13, with squares as in the authors' code, where
    the paper has norms, whose gradient is unbounded near 0. ValueError for another number of layers, B or C.
    """
    ones, others = ([x.astype(jnp.float32) for x in jax.tree.leaves(tree)] for tree in (first, second))
    shapes = [[(*x.shape[:1], *x.shape[3:]) for x in leaves] for leaves in (ones, others)]
    if shapes[0] != shapes[1] or any(x.ndim != 4 for x in (*ones, *others)):
        raise ValueError(
            "expected two styles as feature maps [B, H, W, C] that agree in B and C, got "
            f"{' and '.join(str([x.shape for x in leaves]) for leaves in (ones, others))}"
        )
    means = [jnp.mean(x, (1, 2)) - jnp.mean(y, (1, 2)) for x, y in zip(ones, others, strict=True)]
    deviations = [_deviation(x) - _deviation(y) for x, y in zip(ones, others, strict=True)]
    return _sum([per_example(difference**2) for difference in (*means, *deviations)])


def _deviation(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.var(x, (1, 2)) + 1e-5)


def total_variation(images: jax.Array) -> jax.Array:
    """Returns the total variation of images `[B, H, W, C]`: the absolute differences of neighbours below and to the
    right, summed and divided by the number of values, H · W · C, so that it hardly depends on the size; float32 `[B]`.

    Rudin, Osher & Fatemi 1992, in the anisotropic form; TensorFlow's `image.total_variation` is the sum.
    """
    x = images.astype(jnp.float32)
    down, right = jnp.abs(x[:, 1:] - x[:, :-1]), jnp.abs(x[:, :, 1:] - x[:, :, :-1])
    return (jnp.sum(down, (1, 2, 3)) + jnp.sum(right, (1, 2, 3))) / math.prod(x.shape[1:])
