"""A convolution and both its gradients as matrix products, for the CPU.

There are two forms; the one with fewer multiplications is chosen. *Patches*: every k×k patch of the image is a row of a
matrix, and the kernel is another matrix. *Tiles*: with a stride s, blocks of s×s pixels are the pixels of a smaller
image, whose kernel has m = ⌈k / s⌉ taps a side and stride 1. Two neighbouring outputs of m taps need 2m products, or m
+ 1 products of sums of the inputs with sums of the taps (Winograd 1980; Lavin & Gray 2016, arXiv 1509.09308, F(2, m)).
In two dimensions that is (m + 1)² matrix products, one for each place in a tile of (m + 1)² blocks, instead of 4m² of
the same size: 9 for 16 with DCGAN's 4×4 kernels and stride 2, 16 for 36 with 3×3 ones. The sums have two to four
numbers a side, so float32 loses little more than in a long sum of products; bfloat16 would lose more, and uses patches.
Whatever is added up here of numbers in 16 bits is added up in float32, and rounded once; see also `derivable`.

`forward` is x, k -> y; `to_input` is y, k -> x, its transpose in x; `to_kernel` is x, y -> k, its transpose in k. x is
`[B, H, W, C]`, k `[h, w, C, F]`, y `[B, H', W', F]`; `size` is (H, W) and `kernel` (h, w). Without `tiles` the form is
by patches, whatever the type.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["derivable", "forward", "out_size", "sum_dtype", "to_input", "to_kernel"]

Grid = list[list[jax.Array]]
Matrix = Sequence[Sequence[float]]
CHANNELS = 16  # with fewer of them a tile's products are too thin to pay

# By taps: the sums of a tile's blocks, the sums of taps that multiply them, and the sums of products that are outputs.
BLOCKS: dict[int, Matrix] = {
    2: [[1, -1, 0], [0, 1, 0], [0, 1, -1]],
    3: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
}
TAPS: dict[int, Matrix] = {2: [[1, 0], [1, 1], [0, 1]], 3: [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]}
OUTPUTS: dict[int, Matrix] = {2: [[1, 1, 0], [0, 1, -1]], 3: [[1, 1, 1, 0], [0, 1, -1, -1]]}


def out_size(size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int) -> tuple[int, ...]:
    """Returns the size (H', W') of a convolution's result."""
    return tuple((n + 2 * padding - k) // stride + 1 for n, k in zip(size, kernel, strict=True))


def sum_dtype(dtype: Any) -> Any:
    """Returns the type in which numbers of this type are added up: float32 for floats of 16 bits, otherwise the type
    itself."""
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32 else dtype


def forward(x: jax.Array, k: jax.Array, **geometry: Any) -> jax.Array:
    """Returns the convolution y of x with k."""
    form = _form(x.dtype, k.shape[2], k.shape[3], geometry)
    return form.forward(x, k) if form else to_input(x, _turn(k), **_mirrored(geometry))


def to_input(y: jax.Array, k: jax.Array, **geometry: Any) -> jax.Array:
    """Returns the convolution's transpose in the image: x from y and k."""
    form = _form(y.dtype, k.shape[2], k.shape[3], geometry)
    return form.to_input(y, k) if form else forward(y, _turn(k), **_mirrored(geometry))


def to_kernel(x: jax.Array, y: jax.Array, **geometry: Any) -> jax.Array:
    """Returns the convolution's transpose in the kernel: k from x and y."""
    form = _form(x.dtype, x.shape[3], y.shape[3], geometry)
    return form.to_kernel(x, y) if form else _turn(to_kernel(y, x, **_mirrored(geometry)))


def derivable(form: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns one of the functions above for the case that the form itself is differentiated. Of numbers in 16 bits it
    computes the same, all in float32, so that derivatives too are added up in float32 and rounded once."""

    def wide(a: jax.Array, b: jax.Array, **geometry: Any) -> jax.Array:
        dtype = sum_dtype(a.dtype)
        return form(a.astype(dtype), b.astype(dtype), tiles=dtype == a.dtype, **geometry).astype(a.dtype)

    return wide


def _form(dtype: Any, channels: int, features: int, geometry: dict[str, Any]) -> "Patches | None":
    """Returns the form with the fewest multiplications; None where the convolution is computed better as the transpose
    of another, whose patches are those of y."""
    geometry = dict(geometry)
    may_tile, tiles = geometry.pop("tiles", True), Tiles(**geometry)
    wide_enough = may_tile and jnp.issubdtype(dtype, jnp.floating) and sum_dtype(dtype) == dtype
    if tiles.taps in TAPS and min(channels, features) >= CHANNELS and wide_enough:
        (high, wide), (kh, kw) = tiles.out, tiles.kernel
        if tiles.across[0] * tiles.across[1] * ((tiles.taps + 1) * tiles.stride) ** 2 < 0.8 * high * wide * kh * kw:
            return tiles
    square = tiles.kernel[0] == tiles.kernel[1]
    return None if channels > features and tiles.stride == 1 and square else Patches(**geometry)


def _turn(k: jax.Array) -> jax.Array:
    return k[::-1, ::-1].swapaxes(2, 3)


def _mirrored(geometry: dict[str, Any]) -> dict[str, Any]:
    """Returns the geometry of the other convolution, from y to x: with a stride of 1 a convolution is also its
    transpose, with the kernel rotated by 180°."""
    kernel, padding = geometry["kernel"], geometry["padding"]
    return geometry | {"padding": kernel[0] - 1 - padding, "size": out_size(geometry["size"], kernel, 1, padding)}


def _padded(x: jax.Array, *sides: tuple[int, int]) -> jax.Array:
    """Pads the height and width of `x` with so many zeros or, where negative, cuts so many pixels off."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in sides), (0, 0, 0)])


@dataclasses.dataclass(frozen=True)
class Patches:
    """The form by patches; the transposes add the patches up where they overlap."""

    stride: int
    padding: int
    size: tuple[int, int]
    kernel: tuple[int, int]

    @property
    def out(self) -> tuple[int, int]:
        high, wide = out_size(self.size, self.kernel, self.stride, self.padding)
        return high, wide

    @property
    def taps(self) -> int:
        """Returns m, the taps a side."""
        return -(-max(self.kernel) // self.stride)

    def columns(self, x: jax.Array) -> jax.Array:
        """Returns the patches as rows, `[B·H'·W', h·w·C]`."""
        (kh, kw), (high, wide), s, channels = self.kernel, self.out, self.stride, x.shape[3]
        run = s if kw % s == 0 else 1  # pixels that are copied at once, as they lie side by side in memory too
        x = _padded(x, (self.padding,) * 2, (self.padding, (wide - 1) * s + kw - x.shape[2] - self.padding))
        x = x.reshape(*x.shape[:2], x.shape[2] // run, run * channels)
        high, wide, step = (high - 1) * s + 1, (wide - 1) * (s // run) + 1, s // run
        patches = [x[:, i : i + high : s, j : j + wide : step] for i in range(kh) for j in range(kw // run)]
        return jnp.concatenate(patches, axis=-1).reshape(-1, kh * kw * channels)

    def forward(self, x: jax.Array, k: jax.Array) -> jax.Array:
        return (self.columns(x) @ k.reshape(-1, k.shape[3])).reshape(x.shape[0], *self.out, k.shape[3])

    def to_kernel(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return (self.columns(x).T @ y.reshape(-1, y.shape[3])).reshape(*self.kernel, x.shape[3], y.shape[3])

    def to_input(self, y: jax.Array, k: jax.Array) -> jax.Array:
        # Every output pixel stamps an h×w patch on the image, `stride` apart. With h and w rounded up to m·stride the
        # patch is m×m tiles of stride×stride pixels, so overlapping patches become m² shifted additions of whole tiles.
        (kh, kw), (high, wide), s, m = self.kernel, self.out, self.stride, self.taps
        channels, features = k.shape[2:]
        k = jnp.pad(k, ((0, m * s - kh), (0, m * s - kw), (0, 0), (0, 0)))
        k = k.reshape(m, s, m, s, channels, features).transpose(0, 2, 1, 3, 4, 5).reshape(-1, features)
        stamps = jnp.matmul(y.reshape(-1, features), k.T, preferred_element_type=sum_dtype(y.dtype))
        stamps = stamps.reshape(y.shape[0], high, wide, m, m, s * s * channels)
        blocks = sum(_padded(stamps[:, :, :, i, j], (i, m - 1 - i), (j, m - 1 - j)) for i in range(m) for j in range(m))
        blocks = jnp.asarray(blocks, y.dtype)
        return self.uncut(blocks.reshape(y.shape[0], high + m - 1, wide + m - 1, s, s, channels))

    def uncut(self, blocks: jax.Array) -> jax.Array:
        """Returns the image `[B, H, W, C]` of blocks `[B, Y, X, s, s, C]` that begin with its padding."""
        image = blocks.transpose(0, 1, 3, 2, 4, 5)
        batch, high, s, wide, _, channels = image.shape
        image = image.reshape(batch, high * s, wide * s, channels)
        ends = ((-self.padding, self.padding + n - has) for n, has in zip(self.size, image.shape[1:3], strict=True))
        return _padded(image, *ends)


class Tiles(Patches):
    """The form by tiles of (m + 1)² blocks, which give 2×2 outputs and overlap by m - 1 blocks."""

    @property
    def across(self) -> tuple[int, int]:
        """Returns the numbers of tiles, down and across."""
        return -(-self.out[0] // 2), -(-self.out[1] // 2)

    def tiles(self, x: jax.Array) -> Grid:
        """Returns the first factor of the product at every place in a tile: `[tiles, s·s·C]`."""
        s, m, (down, across) = self.stride, self.taps, self.across
        blocks = 2 * down + m - 1, 2 * across + m - 1
        ends = ((self.padding, s * n - has - self.padding) for n, has in zip(blocks, self.size, strict=True))
        x = _padded(x, *ends).reshape(x.shape[0], blocks[0], s, blocks[1], s, x.shape[3])

        def every_second(x: jax.Array, axis: int, first: int, count: int) -> jax.Array:
            return lax.slice_in_dim(x, first, first + 2 * count - 1, 2, axis)

        places = range(m + 1)
        rows = [every_second(x, 1, i, down) for i in places]
        sums = _both(BLOCKS[m], [[every_second(row, 3, j, across) for j in places] for row in rows])
        return _each(lambda tile: tile.transpose(0, 1, 3, 2, 4, 5).reshape(-1, s * s * x.shape[5]), sums)

    def weights(self, k: jax.Array) -> Grid:
        """Returns the second factor of the product at every place in a tile: `[s·s·C, F]`."""
        (kh, kw), s, m = self.kernel, self.stride, self.taps
        k = jnp.pad(k, ((0, m * s - kh), (0, m * s - kw), (0, 0), (0, 0))).reshape(m, s, m, s, *k.shape[2:])
        return _both(TAPS[m], [[k[i, :, j].reshape(-1, k.shape[5]) for j in range(m)] for i in range(m)])

    def spread(self, y: jax.Array) -> Grid:
        """Computes the transpose of `gathered`."""
        down, across = self.across
        y = _padded(y, (0, 2 * down - self.out[0]), (0, 2 * across - self.out[1]))
        y = y.reshape(y.shape[0], down, 2, across, 2, y.shape[3])
        sums = _both(_turned(OUTPUTS[self.taps]), [[y[:, :, i, :, j] for j in (0, 1)] for i in (0, 1)])
        return _each(lambda each: each.reshape(-1, y.shape[5]), sums)

    def gathered(self, grid: Grid, batch: int) -> jax.Array:
        """Returns the result `[B, H', W', F]` of products `[tiles, F]` at every place."""
        down, across = self.across
        four = _both(OUTPUTS[self.taps], _each(lambda each: each.reshape(batch, down, across, each.shape[1]), grid))
        y = jnp.stack([jnp.stack(row, 3) for row in four], 2)
        return y.reshape(batch, 2 * down, 2 * across, y.shape[5])[:, : self.out[0], : self.out[1]]

    def laid(self, grid: Grid, batch: int) -> jax.Array:
        """Computes the transpose of `tiles`: blocks that overlap are added."""
        s, m, (down, across) = self.stride, self.taps, self.across
        shape = batch, down, across, s, s, grid[0][0].shape[1] // s**2
        places = _both(_turned(BLOCKS[m]), _each(lambda each: each.reshape(shape), grid))

        def halves(parts: Sequence[jax.Array], axis: int) -> list[jax.Array]:
            """Returns the blocks with even and those with odd numbers; tile t has the blocks 2t to 2t + m."""

            def shifted(part: jax.Array, by: int) -> jax.Array:
                ends = [(by, m // 2 - by, 0) if a == axis else (0, 0, 0) for a in range(part.ndim)]
                return lax.pad(part, jnp.zeros((), part.dtype), ends)

            return [_sum([shifted(parts[p], p // 2) for p in range(odd, m + 1, 2)]) for odd in (0, 1)]

        rows = [halves(row, 2) for row in places]
        columns = [halves([row[odd] for row in rows], 1) for odd in (0, 1)]
        quarters = jnp.stack([jnp.stack([columns[j][i] for j in (0, 1)], 3) for i in (0, 1)], 2)
        return self.uncut(quarters.reshape(batch, 2 * (down + m // 2), 2 * (across + m // 2), s, s, shape[5]))

    def forward(self, x: jax.Array, k: jax.Array) -> jax.Array:
        return self.gathered(_each(jnp.matmul, self.tiles(x), self.weights(k)), x.shape[0])

    def to_input(self, y: jax.Array, k: jax.Array) -> jax.Array:
        return self.laid(_each(lambda each, weights: each @ weights.T, self.spread(y), self.weights(k)), y.shape[0])

    def to_kernel(self, x: jax.Array, y: jax.Array) -> jax.Array:
        (kh, kw), s, m, channels, features = self.kernel, self.stride, self.taps, x.shape[3], y.shape[3]
        grid = _both(_turned(TAPS[m]), _each(lambda tile, each: tile.T @ each, self.tiles(x), self.spread(y)))
        k = jnp.stack([jnp.stack(row) for row in grid]).reshape(m, m, s, s, channels, features)
        return k.transpose(0, 2, 1, 3, 4, 5).reshape(m * s, m * s, channels, features)[:kh, :kw]


def _sum(parts: Sequence[jax.Array]) -> jax.Array:
    total, *rest = parts
    for part in rest:
        total = total + part
    return total


def _each(function: Callable[..., jax.Array], *grids: Grid) -> Grid:
    return [[function(*each) for each in zip(*rows, strict=True)] for rows in zip(*grids, strict=True)]


def _turned(grid: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*grid, strict=True)]


def _sums(matrix: Matrix, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Returns the matrix times the vector of parts, without computing with its zeros and ones."""

    def times(factor: float, part: jax.Array) -> jax.Array:
        return part if factor == 1 else -part if factor == -1 else factor * part

    return [_sum([times(c, part) for c, part in zip(row, parts, strict=True) if c]) for row in matrix]


def _both(matrix: Matrix, grid: Grid) -> Grid:
    """Returns the matrix times the grid times the matrix's transpose."""
    return _turned([_sums(matrix, column) for column in _turned([_sums(matrix, row) for row in grid])])
