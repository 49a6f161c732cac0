"""Whole pictures of any size through a network: cut into tiles of one size that overlap, translated a few at a time and
put together again, so that no seam shows and memory stays bounded.

Where it is known how far a network looks around a pixel (`Translation.reach`), and tiles overlap by twice as much, no
pixel is taken from where it lacks any of that: the result is what the whole picture would become at once, but for
rounding. Tiles at the picture's border end there, so that its padding is the network's own. Where it isn't known, or
too far, tiles are cross-faded over their overlap.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.media import Image
from jaxgan.training.recipe.gan import Translation, Weights

__all__ = ["Translator"]

State = Any

TILE = 512  # pixels of a tile's side, at most
LARGEST = 768  # pixels of the side of what becomes of it, at most
AT_ONCE = LARGEST**2  # pixels that a dispatch makes, at most, but of a tile at least: a convolution takes GiB on a CPU
FADE = 4  # a quarter of a tile is cross-faded, where no seam's absence is sure
SHAPES = 8  # of tiles that programs are kept for: pictures that are smaller than a tile each have their own


class Cut(NamedTuple):
    """How the tiles of a picture lie along one of its axes.

    size: of each, in pixels that go in. starts: where each begins, ascending. shares: `[tiles, scale·size]`, which part
    of each pixel that comes out is a tile's; those of all tiles that have it add up to 1."""

    size: int
    starts: tuple[int, ...]
    shares: np.ndarray


def cut(length: int, tile: int, overlap: int, *, scale: int = 1, reach: int | None = None, multiple: int = 1) -> Cut:
    """Cuts `length` pixels into tiles of at least `tile` that overlap by at least `overlap` and lie as evenly as
    multiples allow; a length up to `tile` stays whole. scale, reach, multiple: as of a `Translation`. Where the overlap
    is at least twice the reach, none of the pixels of a tile that lack part of that have a share; the rest of the
    overlap is cross-faded linearly. ValueError where tiles don't advance."""
    if tile - overlap < multiple:
        raise ValueError(f"a tile must be at least {multiple} larger than the overlap, got {tile} and {overlap}")
    # So that all tiles begin at multiples and the last, which ends with the picture, does too.
    size = tile + (length - tile) % multiple
    if length <= size:
        return Cut(length, (0,), np.ones((1, scale * length), np.float32))
    steps, furthest = (length - size) // multiple, (size - overlap) // multiple
    count = 1 + math.ceil(steps / furthest)
    starts = [steps * i // (count - 1) * multiple for i in range(count)]
    margin = scale * reach if reach is not None and 2 * reach <= overlap else 0
    inside = np.arange(scale * size) + 0.5 - margin  # pixels from where a tile's share begins to grow
    shares = np.ones((count, scale * size))
    for i in range(count - 1):
        fade = max(1, scale * (starts[i] + size - starts[i + 1]) - 2 * margin)
        shares[i + 1] = np.minimum(shares[i + 1], np.clip(inside / fade, 0, 1))
        shares[i] = np.minimum(shares[i], np.clip(inside[::-1] / fade, 0, 1))
    total = np.zeros(scale * length)
    places = [slice(scale * start, scale * (start + size)) for start in starts]
    for place, share in zip(places, shares, strict=True):
        total[place] += share
    normalised = [share / total[place] for place, share in zip(places, shares, strict=True)]
    return Cut(size, tuple(starts), np.stack(normalised).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Translator:
    """Translates whole pictures, stored as uint8 `[N, H, W, C]`, by the networks of a state.

    weights, how: what the translation's `apply` is given beside state and images; arrays and lists are among a
    program's arguments, all else is part of it.
    tile: pixels of a tile's side, at least; by default 512, or what becomes 768. overlap: of tiles, in pixels, at
    least; by default twice the translation's reach, or a quarter of a tile where that isn't known or more than half of
    one."""

    translation: Translation
    state: State
    weights: Weights = "ema"
    tile: int | None = None
    overlap: int | None = None
    how: Mapping[str, Any] = field(default_factory=dict)

    def sizes(self) -> tuple[int, int]:
        """Returns a tile's side, and how far tiles overlap. ValueError where tiles that large don't advance."""
        _, _, scale, reach, _, multiple = self.translation
        tile = self.tile or max(min(TILE, LARGEST // scale), multiple)
        exact = 2 * reach if reach is not None else None
        overlap = self.overlap
        if overlap is None:
            overlap = exact if exact is not None and exact <= tile // 2 else tile // FADE
        if self.tile is None:
            tile = max(tile, overlap + multiple)
        if tile - overlap < multiple:
            more = f"{overlap + multiple}, {multiple} more than tiles overlap" if multiple > 1 else f"{overlap + 1}"
            raise ValueError(f"tiles that overlap by {overlap} pixels have at least {more}, got {tile}")
        return tile, overlap

    def cuts(self, height: int, width: int) -> tuple[Cut, Cut]:
        """Returns how a picture of this size is cut along its height and its width."""
        tile, overlap = self.sizes()
        _, _, scale, reach, _, multiple = self.translation
        rows, columns = (
            cut(length, tile, overlap, scale=scale, reach=reach, multiple=multiple) for length in (height, width)
        )
        return rows, columns

    def tiles(self, height: int, width: int) -> int:
        """Returns in how many tiles a picture of this size is translated."""
        rows, columns = self.cuts(height, width)
        return len(rows.starts) * len(columns.starts)

    def result_bytes(self, shape: tuple[int, ...]) -> int:
        """Returns how many bytes pictures `[N, H, W, C]` become."""
        count, height, width, _ = shape
        return count * self.translation.scale**2 * height * width * self.channels

    @functools.cached_property
    def channels(self) -> int:
        """Returns how many channels a translated picture has. Nothing is computed."""
        side = self.sizes()[0]
        tiles = jax.ShapeDtypeStruct((1, side, side, self.translation.channels), jnp.uint8)
        return int(jax.eval_shape(functools.partial(self._program, self.state), tiles).shape[-1])

    def __call__(self, images: np.ndarray, done: Callable[[int], object] = lambda tiles: None) -> np.ndarray:
        """Translates pictures of one size, uint8 `[N, H, W, C]` -> uint8 `[N, s·H, s·W, C']`. done: is told of tiles
        that are done, how many more. ValueError for what isn't finite, as of a network that has diverged."""
        count, height, width, _ = images.shape
        scale, rows, columns = self.translation.scale, *self.cuts(height, width)
        result = np.empty((count, scale * height, scale * width, self.channels), np.uint8)
        if len(rows.starts) == len(columns.starts) == 1:
            for place, made in self._translated(images, done):
                result[place] = _encoded(made)
            return result
        for image, to in zip(images, result, strict=True):
            self._put_together(image, rows, columns, to, done)
        return result

    def _put_together(
        self, image: np.ndarray, rows: Cut, columns: Cut, result: np.ndarray, done: Callable[[int], object]
    ) -> None:
        """Translates `[H, W, C]` into `result`, uint8 `[s·H, s·W, C']`, a row of tiles after another, or a column,
        whichever is shorter: its pixels are held as floats until those of the next one have been added."""
        turned, scale = image.shape[1] > image.shape[0], self.translation.scale
        if turned:
            image, result, rows, columns = image.swapaxes(0, 1), result.swapaxes(0, 1), columns, rows
        held = np.zeros((0, *result.shape[1:]), np.float32)
        ends = [*rows.starts[1:], image.shape[0]]
        for start, end, share in zip(rows.starts, ends, rows.shares, strict=True):
            row = image[start : start + rows.size]
            tiles = np.stack([row[:, left : left + columns.size] for left in columns.starts])
            strip = np.zeros((scale * rows.size, *result.shape[1:]), np.float32)
            for place, made in self._translated(tiles.swapaxes(1, 2) if turned else tiles, done):
                for i, tile in zip(range(*place.indices(len(tiles))), made, strict=True):
                    left = scale * columns.starts[i]
                    weighed = (tile.swapaxes(0, 1) if turned else tile) * columns.shares[i][:, None]
                    strip[:, left : left + scale * columns.size] += weighed
            strip *= share[:, None, None]
            strip[: len(held)] += held
            result[scale * start : scale * end] = _encoded(strip[: scale * (end - start)])
            held = strip[scale * (end - start) :]

    def _translated(self, tiles: np.ndarray, done: Callable[[int], object]) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields what becomes of `[N, h, w, C]`, float32 `[n, s·h, s·w, C']`, a few at a time and where these are."""
        scale, (count, height, width, _) = self.translation.scale, tiles.shape
        if not count:
            return
        most = max(1, AT_ONCE // (scale * scale * height * width))
        size = math.ceil(count / math.ceil(count / most))  # as even as can be: one program, with little to spare
        for first in range(0, count, size):
            some = tiles[first : first + size]
            filled = np.concatenate([some, np.repeat(some[-1:], size - len(some), axis=0)])
            made = np.asarray(self._program(self.state, filled))[: len(some)]
            if made.shape[:3] != (len(some), scale * height, scale * width):
                raise ValueError(f"a translation of scale {scale} made {made.shape} of {filled.shape}")
            if not np.isfinite(made).all():
                raise ValueError("what the network makes of the picture isn't finite: it has diverged")
            yield slice(first, first + len(some)), made
            done(len(some))

    def _program(self, state: State, tiles: Any) -> jax.Array:
        arrays = {name: jnp.asarray(each) for name, each in self.how.items() if _is_array(each)}
        rest = tuple((name, each) for name, each in self.how.items() if name not in arrays)
        shape = (self.translation.apply, self.weights, rest, tiles.shape)
        if shape not in _shapes and len(_shapes) >= SHAPES:
            _apply.clear_cache()  # type: ignore[attr-defined]  # which jitted functions have
            _shapes.clear()
        _shapes.add(shape)
        return _apply(state, tiles, arrays, apply=self.translation.apply, weights=self.weights, rest=rest)


_shapes: set[Any] = set()  # that `_apply` is compiled for


@functools.partial(jax.jit, static_argnames=("apply", "weights", "rest"))
def _apply(
    state: State,
    tiles: jax.Array,
    arrays: dict[str, jax.Array],
    *,
    apply: Callable[..., jax.Array],
    weights: Weights,
    rest: tuple[tuple[str, Any], ...],
) -> jax.Array:
    return apply(state, Image().decode(tiles), weights=weights, **arrays, **dict(rest)).astype(jnp.float32)


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray | jax.Array)  # one number too, which has no hash then


def _encoded(made: np.ndarray) -> np.ndarray:
    """Encodes float32 for storage, as `Image.encode` does; what is given is overwritten."""
    made = made if made.flags.writeable else made.copy()
    np.clip(made, -1, 1, out=made)
    made += 1
    made *= 127.5
    return np.rint(made, out=made).astype(np.uint8)
