"""Adaptive discriminator augmentation (ADA): all that D sees is changed at random, with a probability p that follows
how much D overfits. Karras et al. 2020 (arXiv 2006.06676), section 3 and appendix B.

Images are float `[B, H, W, C]` with 1 or 3 channels, in [-1, 1], whose middle, 0, is what cutout leaves. Keys are
`[B]`, one for each example; an example's changes depend on its key and p alone. All of it is pure and differentiable.

In a plain GAN, `make_d_step([d_loss(loss), controller(loss)], augment=augmentation())` and the same `augment` for G; in
an objective, `augment(images, draw.keys("augment"), p)` and `adapted`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxgan import warp
from jaxgan.augment import own_keys, require_groups
from jaxgan.losses import AdversarialLoss
from jaxgan.state import GANState
from jaxgan.terms.term import Example, Term, View
from jaxgan.update import Outcome

__all__ = ["GROUPS", "adapted", "augment", "augmentation", "colours", "controller", "geometry"]

GROUPS = ("blit", "geometric", "colour", "filter", "noise", "cutout")
"""The groups of changes, by which `augment` is asked for them."""

_NUMBERS = {name: number for number, name in enumerate(GROUPS, 32)}  # folded into keys; augment and degrade have others
_OCTAVE = math.log(2)
_Draw = Callable[[jax.Array], jax.Array]


def augment(
    images: jax.Array, keys: jax.Array, p: float | jax.Array, groups: Sequence[str] = ("blit", "geometric", "colour")
) -> jax.Array:
    """Changes each image by every transformation of the groups, each with probability p and on its own; p = 0 returns
    the images exactly. Transformations, their order and strengths are the paper's, appendix B; the filter that images
    are resampled by is another, see `warp.warped`.

    groups: of
        blit: flip left-right, quarter turns, translation by whole pixels, up to an eighth of the side;
        geometric: scale, rotation, anisotropic scale, rotation, translation by fractions of pixels;
        colour: brightness, contrast, luma flip, hue, saturation (with one channel, the first three);
        filter: frequency bands amplified or weakened; noise; cutout of half the side.
    The default is what the paper calls bgc, its choice. Blit and geometric are one affine map, resampled once; beyond
    the edge images continue mirrored, without repeating the outermost pixel.

    ValueError for other groups, other than 1 or 3 channels, a side below 2, and quarter turns of what is no square.
    """
    _check(images, groups)
    p = jnp.asarray(p, jnp.float32)
    x = images.astype(jnp.float32)
    spatial = [name for name in ("blit", "geometric") if name in groups]
    if spatial:
        inverse = geometry(keys, p, (images.shape[1], images.shape[2]), spatial)
        moved = warp.warped(x, inverse) if "geometric" in groups else warp.copied(x, inverse)
        still = jnp.all(inverse == jnp.eye(3, dtype=jnp.float32)[None], (1, 2))
        x = jnp.where(still.reshape(-1, 1, 1, 1), x, moved)  # the filters would round
    if "colour" in groups:
        matrices = colours(keys, p, images.shape[-1])
        linear, offset = matrices[:, :-1, :-1], matrices[:, None, None, :-1, -1]
        x = jnp.einsum("bdc,bhwc->bhwd", linear, x, precision="highest") + offset
    for name, change in (("filter", _filtered), ("noise", _noisy), ("cutout", _cut)):
        if name in groups:
            x = jax.vmap(functools.partial(change, p=p))(x, own_keys(keys, _NUMBERS[name]))
    return x.astype(images.dtype)


def _check(images: jax.Array, groups: Sequence[str]) -> None:
    require_groups(groups, GROUPS)
    height, width, channels = images.shape[1:]
    if channels not in (1, 3) or min(height, width) < 2:
        raise ValueError(
            f"ADA takes images of at least 2×2 pixels and 1 or 3 channels, got {height}×{width}×{channels}"
        )
    if "blit" in groups and height != width:
        raise ValueError(f"images of {height}×{width} can't be turned by quarters: leave 'blit' out of the groups")


def _maybe(key: jax.Array, p: jax.Array, draw: _Draw, neutral: float) -> jax.Array:
    """Returns `draw(key)` with probability p, else `neutral`."""
    chance, own = jax.random.split(key)
    return jnp.where(jax.random.uniform(chance, (), jnp.float32) < p, draw(own), neutral)


def _uniform(low: float, high: float) -> _Draw:
    return lambda key: jax.random.uniform(key, (), jnp.float32, low, high)


def _normal(std: float) -> _Draw:
    return lambda key: std * jax.random.normal(key, (), jnp.float32)


def _lognormal(octaves: float) -> _Draw:
    return lambda key: jnp.exp(_normal(octaves * _OCTAVE)(key))


def _choice(count: int) -> _Draw:
    return lambda key: jax.random.randint(key, (), 0, count, jnp.int32).astype(jnp.float32)


# --- where pixels come from -------------------------------------------------------------------------------------------
def geometry(keys: jax.Array, p: float | jax.Array, size: tuple[int, int], groups: Sequence[str]) -> jax.Array:
    """Draws where pixels come from: matrices `[B, 3, 3]` that take (x, y, 1) in the changed image to the place in the
    original, in pixels right and down from the centre. size: height and width. groups: of `blit` and `geometric`."""
    return jax.vmap(functools.partial(_inverse, p=jnp.asarray(p, jnp.float32), size=size, groups=groups))(keys)


def _inverse(key: jax.Array, p: jax.Array, size: tuple[int, int], groups: Sequence[str]) -> jax.Array:
    """Returns the product of the single changes' inverses."""
    height, width = size
    matrices = []
    if "blit" in groups:
        keys = jax.random.split(jax.random.fold_in(key, _NUMBERS["blit"]), 3)
        matrices.append(_scale(1 - 2 * _maybe(keys[0], p, _choice(2), 0.0), 1.0))
        quarters = _maybe(keys[1], p, _choice(4), 0.0).astype(jnp.int32)
        matrices.append(_turn(_listed(1, 0, -1, 0)[quarters], _listed(0, 1, 0, -1)[quarters]))
        eighth = _uniform(-0.125, 0.125)
        matrices.append(
            _translation(keys[2], p, *(lambda key, n=n: jnp.round(n * eighth(key)) for n in (width, height)))
        )
    if "geometric" in groups:
        keys = jax.random.split(jax.random.fold_in(key, _NUMBERS["geometric"]), 5)
        scale, stretch = (_maybe(keys[i], p, _lognormal(0.2), 1.0) for i in (0, 2))
        rotated = 1 - jnp.sqrt(1 - p)  # so that at least one of two rotations has probability p
        before, after = (_maybe(keys[i], rotated, _uniform(-math.pi, math.pi), 0.0) for i in (1, 3))
        matrices += [
            _scale(1 / scale, 1 / scale),
            _turn(jnp.cos(before), jnp.sin(before)),
            _scale(1 / stretch, stretch),
            _turn(jnp.cos(after), jnp.sin(after)),
            _translation(keys[4], p, _normal(0.125 * width), _normal(0.125 * height)),
        ]
    return functools.reduce(_product, matrices)


def _translation(key: jax.Array, p: jax.Array, right: _Draw, down: _Draw) -> jax.Array:
    """Returns, with probability p, the inverse of a translation by what both draw."""
    chance, of_right, of_down = jax.random.split(key, 3)
    moved = jax.random.uniform(chance, (), jnp.float32) < p
    return _rows(
        (1, 0, jnp.where(moved, -right(of_right), 0.0)), (0, 1, jnp.where(moved, -down(of_down), 0.0)), (0, 0, 1)
    )


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns a @ b of small matrices with all bits, and exactly where one of them is the identity."""
    return jnp.sum(a[:, :, None] * b[None], 1)


def _listed(*numbers: float) -> jax.Array:
    return jnp.array(numbers, jnp.float32)


def _rows(*rows: Sequence[jax.Array | float]) -> jax.Array:
    return jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in row]) for row in rows])


def _scale(x: jax.Array, y: jax.Array | float) -> jax.Array:
    return _rows((x, 0, 0), (0, y, 0), (0, 0, 1))


def _turn(cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Returns the inverse of a turn counter-clockwise, as y points down."""
    return _rows((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))


# --- colours, and the rest --------------------------------------------------------------------------------------------
def colours(keys: jax.Array, p: float | jax.Array, channels: int) -> jax.Array:
    """Draws changes of colours: matrices `[B, C + 1, C + 1]` that are multiplied with (the C channels, 1)."""
    own = own_keys(keys, _NUMBERS["colour"])
    return jax.vmap(functools.partial(_colours, p=jnp.asarray(p, jnp.float32), channels=channels))(own)


def _colours(key: jax.Array, p: jax.Array, channels: int) -> jax.Array:
    """Returns brightness, contrast, luma flip, hue and saturation, one after the other, as a matrix."""
    keys = jax.random.split(key, 5)
    eye = jnp.eye(channels, dtype=jnp.float32)
    luma = jnp.full((channels, channels), 1 / channels, jnp.float32)  # the projection on the axis of greys
    offset = jnp.broadcast_to(_maybe(keys[0], p, _normal(0.2), 0.0), (channels,))
    contrast = _maybe(keys[1], p, _lognormal(0.5), 1.0)
    linear, offset = contrast * eye, contrast * offset
    changes = [eye - 2 * _maybe(keys[2], p, _choice(2), 0.0) * luma]
    if channels == 3:
        changes += [
            _hue(_maybe(keys[3], p, _uniform(-math.pi, math.pi), 0.0)),
            eye + (_maybe(keys[4], p, _lognormal(1.0), 1.0) - 1) * (eye - luma),
        ]
    for change in changes:
        linear, offset = _product(change, linear), jnp.sum(change * offset[None], 1)
    last = jnp.eye(channels + 1, dtype=jnp.float32)[-1:]
    return jnp.concatenate([jnp.concatenate([linear, offset[:, None]], 1), last])


def _hue(angle: jax.Array) -> jax.Array:
    """Returns the rotation `[3, 3]` by an angle about the axis of greys: Rodrigues' formula."""
    across = _rows((0, -1, 1), (1, 0, -1), (-1, 1, 0)) / math.sqrt(3)
    eye = jnp.eye(3, dtype=jnp.float32)
    return eye + jnp.sin(angle) * across + (1 - jnp.cos(angle)) * (jnp.full((3, 3), 1 / 3, jnp.float32) - eye)


def _filtered(image: jax.Array, key: jax.Array, p: jax.Array) -> jax.Array:
    """Amplifies or weakens four bands of frequencies, an octave each, keeping the power of a 1/f spectrum."""
    expected, keys = _listed(10, 1, 1, 1).reshape(1, 4) / 13, jax.random.split(key, 4)
    drawn = jax.vmap(lambda key: _maybe(key, p, _lognormal(1.0), 1.0))(keys)
    changes = jnp.where(jnp.eye(4, dtype=bool), drawn.reshape(1, 4), 1.0)  # one after the other
    gains = jnp.prod(changes / jnp.sqrt(jnp.sum(expected * changes**2, 1, keepdims=True)), 0)
    matrices = [
        jnp.sum(gains[:, None, None] * jnp.asarray(warp.bands(side), jnp.float32), 0) for side in image.shape[:2]
    ]
    filtered = jnp.einsum("yh,hwc,xw->yxc", matrices[0], image, matrices[1], precision="highest")
    return jnp.where(jnp.all(drawn == 1), image, filtered)


def _noisy(image: jax.Array, key: jax.Array, p: jax.Array) -> jax.Array:
    strength, drawn = jax.random.split(key)
    std = jnp.abs(_maybe(strength, p, _normal(0.1), 0.0))
    return image + std * jax.random.normal(drawn, image.shape, jnp.float32)


def _cut(image: jax.Array, key: jax.Array, p: jax.Array) -> jax.Array:
    """Fills a rectangle of half the height and width, around a place anywhere in the image, with 0."""
    chance, centre = jax.random.split(key)
    inside = jax.random.uniform(chance, (), jnp.float32) < p
    for axis, at in enumerate(jax.random.uniform(centre, (2,), jnp.float32)):
        side = image.shape[axis]
        low, high = jnp.round((at - 0.25) * side), jnp.round((at + 0.25) * side)
        along = jnp.arange(side, dtype=jnp.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        inside = inside & (along >= low) & (along < high)
    return jnp.where(inside, 0.0, image)


# --- how much of it ---------------------------------------------------------------------------------------------------
def adapted(
    p: float | jax.Array,
    real_sign: float | jax.Array,
    images: float | jax.Array,
    target: float = 0.6,
    speed: float = 500_000,
) -> jax.Array:
    """Returns the probability after so many more images: p + sign(real_sign - target) · images / speed, within [0, 1].
    The paper has no upper end; there p would have to come back from above 1.

    real_sign: the mean of sign(D(x)) over real images, r_t of the paper's equation 1, from -1 to 1: 1 where D takes
        all of them for real, as one that overfits does, and 0 where it can't tell them.
    speed: images in which p goes from 0 to 1. The paper's 500,000 are for runs of 25 million; shorter ones need less.
    """
    moved = jnp.asarray(p, jnp.float32) + jnp.sign(jnp.asarray(real_sign, jnp.float32) - target) * images / speed
    return jnp.clip(moved, 0.0, 1.0)


def controller(loss: AdversarialLoss, target: float = 0.6, speed: float = 500_000, interval: int = 4) -> Term:
    """Returns the term `ada` of a discriminator that learns by `loss`: it moves the probability, `extras["ada"]`, by
    `adapted` after every `interval` updates, by the sign of the real logits in all of them. Its value is the
    probability, and its weight 0.

    It starts at 0. ValueError for a loss under which the sign of a logit says nothing (wasserstein, relativistic, or
    least_squares, whose middle is ½), and for other than target in (-1, 1), speed above 0 and interval at least 1.
    """
    if not (-1 < target < 1 and speed > 0 and interval >= 1):
        raise ValueError(
            f"expected target in (-1, 1), speed above 0 and interval at least 1, got {target}, {speed} and {interval}"
        )
    if not _has_sign(loss):
        raise ValueError(
            "ADA's controller reads the sign of D's logits, which says nothing under this loss; use non_saturating, "
            "minimax or hinge, or a fixed or scheduled probability, augmentation(p)"
        )

    def function(view: View) -> Outcome:
        p, total = view.extras["ada"]["p"], view.extras["ada"]["sign"]
        # The probability moves by what earlier updates left, so that all parts of an accumulated batch move it alike.
        due = (view.step > 0) & (view.step % interval == 0)
        p = jnp.where(due, adapted(p, total / interval, interval * view.count, target, speed), p)
        signs = [jnp.mean(jnp.sign(x.astype(jnp.float32))) for x in jax.tree.leaves(view.real["logits"])]
        sign = view.mean(sum(signs[1:], signs[0]) / len(signs))
        after = {"p": p, "sign": jnp.where(due, 0.0, total) + sign}
        return Outcome(p.reshape(1), {"ada": jax.lax.stop_gradient(after)}, {"real_sign": sign})

    zero = jnp.zeros((), jnp.float32)
    return Term("ada", function, 0.0, init=lambda players: {"ada": {"p": zero, "sign": +zero}})


def _has_sign(loss: AdversarialLoss) -> bool:
    """Whether a discriminator that can't tell real from fake answers 0: the loss of equal logits is lowest there."""
    at = lambda logit: float(loss.d(jnp.full(1, logit), jnp.full(1, logit))[0])  # noqa: E731
    return at(0.0) <= min(at(-0.5), at(0.5)) and at(0.0) < min(at(-2.0), at(2.0))


def augmentation(
    p: float | str | None = None,
    groups: Sequence[str] = ("blit", "geometric", "colour"),
    field: str = "image",
    *,
    change: Callable[[jax.Array, jax.Array, float | jax.Array, Sequence[str]], jax.Array] = augment,
) -> Callable[[Example, jax.Array, GANState], Example]:
    """Returns the `augment` of a plain GAN's steps, `(example, keys, state) -> example`.

    p: the probability; a number, or the name of one in the state's `hyper`, which may follow a schedule or be swept;
        by default that of `controller`.
    groups: as for `augment`. field: the part of an example that is changed.
    change: `(images, keys, p, groups) -> images`, what changes it; `diffaugment.augment` takes p for its strength.
    ValueError for a number outside of [0, 1]; when it is called, for a name or a controller that the state lacks.
    """
    if isinstance(p, float | int) and not 0 <= p <= 1:
        raise ValueError(f"expected a probability or a strength from 0 to 1, got {p}")

    def function(example: Example, keys: jax.Array, state: GANState) -> Example:
        return {**example, field: change(example[field], keys, _probability(p, state), groups)}

    return function


def _probability(p: float | str | None, state: GANState) -> float | jax.Array:
    if p is None:
        if "ada" not in state.extras:
            raise ValueError("the state's extras lack 'ada'; give D the term ada.controller(loss), or p a number")
        now: jax.Array = state.extras["ada"]["p"]
        return now
    if isinstance(p, str) and p not in state.hyper:
        raise ValueError(f"the number {p!r} is missing in hyper, which has {sorted(state.hyper)}")
    return state.hyper[p] if isinstance(p, str) else p
