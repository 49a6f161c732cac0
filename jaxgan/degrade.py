"""What images to learn from are made of others: smaller, blurred, noisy, compressed, torn, pale, grey, outlines.

Pure functions of images, float `[B, H, W, C]` in [-1, 1], for a compiled step or for whole pictures. Those that draw
take keys `[B]` too, one for each example, whose draw depends on its key alone, not on the rest of the batch; every such
function folds a number of its own into the keys, also another than those of `jaxgan.augment`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.augment import noise, own_keys

__all__ = ["blur", "contrast", "edges", "grey", "hole", "jpeg", "noise", "on_axes", "resize"]

_HOLE, _CONTRAST = range(16, 18)  # folded into the keys; jaxgan.augment has those below 16
_TRUNCATE = 4.0  # standard deviations at which a Gaussian ends
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def resize(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes images to `size` (height, width) as MATLAB's `imresize` does by default, which super-resolution is
    measured against: `[B, H, W, C]` to `[B, *size, C]`.

    Bicubic: Keys 1981 (IEEE TASSP 29), equation 15, a = -0.5. Where an image shrinks the kernel is as much wider
    (antialiasing); beyond the border the image continues mirrored, the outermost pixel repeated; each axis has its own
    scale, new/old. Neither rounded nor clipped: beside an edge values go beyond those of the image. Differentiable: two
    matrix products. ValueError for a side below 1.
    """
    if min(size) < 1:
        raise ValueError(f"expected a size of at least 1×1 pixels, got {size[0]}×{size[1]}")
    height, width = images.shape[1:3]
    return on_axes(images, _bicubic(height, size[0]), _bicubic(width, size[1]))


@functools.cache
def _bicubic(old: int, new: int) -> np.ndarray:
    """Returns the weights `[new, old]`, float64, by which an axis of `old` pixels becomes one of `new`."""
    scale = new / old
    shrunk = min(scale, 1.0)  # the kernel is 1 / shrunk times as wide
    centres = (np.arange(new) + 0.5) / scale - 0.5  # of new pixels, in old ones
    taps = math.ceil(4 / shrunk) + 2  # the kernel is 4 wide, and a window that may be too wide has zeros at its ends
    places = np.floor(centres - 2 / shrunk).astype(int)[:, None] + np.arange(taps)
    weights = _cubic(shrunk * (centres[:, None] - places))
    return _mirrored(places, weights / weights.sum(1, keepdims=True), old)


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _mirrored(places: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Returns the matrix `[N, size]` that gives each of N sums of `weights` at `places`, `[N, taps]`, where places
    beyond an axis of `size` pixels are mirrored into it, as often as needed."""
    inside = places % (2 * size)
    inside = np.where(inside < size, inside, 2 * size - 1 - inside)
    matrix = np.zeros((len(places), size))
    np.add.at(matrix, (np.arange(len(places))[:, None], inside), weights)
    return matrix


def on_axes(images: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Multiplies the vertical axis by `rows` `[H', H]` and the horizontal one by `columns` `[W', W]`, in float32."""
    x = images.astype(jnp.float32)
    vertically = functools.partial(jnp.einsum, "ph,bhwc->bpwc", jnp.asarray(rows, jnp.float32), precision="highest")
    across = functools.partial(jnp.einsum, "qw,bhwc->bhqc", jnp.asarray(columns, jnp.float32), precision="highest")
    # What makes less of it comes first.
    if len(rows) * columns.shape[1] <= len(columns) * rows.shape[1]:
        return across(vertically(x)).astype(images.dtype)
    return vertically(across(x)).astype(images.dtype)


def blur(images: jax.Array, sigma: float) -> jax.Array:
    """Blurs images with a Gaussian of standard deviation `sigma` pixels, cut off at 4 of them, mirrored at the border
    with the outermost pixel repeated: SciPy's `gaussian_filter` with its defaults. 0 leaves them as they are.
    ValueError for a negative or infinite one."""
    if not 0 <= sigma < math.inf:
        raise ValueError(f"expected a standard deviation of 0 or more pixels, got {sigma}")
    height, width = images.shape[1:3]
    return on_axes(images, _gaussian(height, sigma), _gaussian(width, sigma))


@functools.cache
def _gaussian(size: int, sigma: float) -> np.ndarray:
    """Returns the matrix `[size, size]`, float64, that blurs an axis."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    places = np.arange(size)[:, None] + offsets
    return _mirrored(places, np.broadcast_to(weights / weights.sum(), places.shape), size)


def contrast(images: jax.Array, keys: jax.Array, lowest: float, highest: float) -> jax.Array:
    """Scales each image's differences from its own mean luma by a factor that is uniform from `lowest` to `highest`,
    where 0 leaves a flat grey and 1 the image: Pillow's `ImageEnhance.Contrast`, without rounding and clipping.
    ValueError unless 0 ≤ lowest ≤ highest."""
    if not 0 <= lowest <= highest < math.inf:
        raise ValueError(f"expected factors with 0 ≤ lowest ≤ highest, got {lowest} and {highest}")
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(own_keys(keys, _CONTRAST))
    factors = (lowest + drawn * (highest - lowest)).reshape(-1, 1, 1, 1)
    x = images.astype(jnp.float32)
    mean = grey(x).mean((1, 2, 3), keepdims=True)
    return (mean + factors * (x - mean)).astype(images.dtype)


def hole(
    images: jax.Array, keys: jax.Array, *, smallest: float = 0.25, largest: float = 0.5, centred: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Tears a rectangle out of each image and fills it with 0, mid-grey. Returns the images and `mask`, float32
    `[B, H, W, 1]`: 1 in the hole, 0 elsewhere.

    Its height and width are drawn on their own, uniform over all whole numbers of pixels from `smallest` to `largest`
    times the image's (rounded, at least 1), its place uniform over all where it fits; with `centred` it is the middle.
    Pathak et al. 2016 (arXiv 1604.07379), section 3.3, has the central square of half the side: `smallest=0.5,
    largest=0.5, centred=True`. ValueError unless 0 < smallest ≤ largest ≤ 1.
    """
    if not 0 < smallest <= largest <= 1:
        raise ValueError(f"expected a hole with 0 < smallest ≤ largest ≤ 1, got {smallest} and {largest}")

    def span(key: jax.Array, length: int) -> jax.Array:
        """Which of `length` pixels lie in the hole, bool `[length]`."""
        least, most = (max(1, round(share * length)) for share in (smallest, largest))
        size_key, place_key = jax.random.split(key)
        size = jax.random.randint(size_key, (), least, most + 1, jnp.int32)
        free = length - size
        start = free // 2 if centred else jax.random.randint(place_key, (), 0, free + 1, jnp.int32)
        at = jnp.arange(length, dtype=jnp.int32)
        return (at >= start) & (at < start + size)

    def one(key: jax.Array) -> jax.Array:
        down, across = jax.random.split(key)
        return span(down, images.shape[1])[:, None] & span(across, images.shape[2])[None, :]

    torn = jax.vmap(one)(own_keys(keys, _HOLE))[..., None]
    return jnp.where(torn, jnp.zeros((), images.dtype), images), torn.astype(jnp.float32)


def grey(images: jax.Array, channels: int = 1) -> jax.Array:
    """Returns the luma of images, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), in `channels` equal channels, 1 or 3.

    Images of one channel are grey already. ValueError for others than 1 and 3.
    """
    found = images.shape[-1]
    if found not in (1, 3) or channels not in (1, 3):
        raise ValueError(f"grey makes images of 1 or 3 channels of such of 1 or 3, got {channels} of {found}")
    if found == 3:
        luma = sum(weight * images[..., c : c + 1].astype(jnp.float32) for c, weight in enumerate(LUMA))
        images = jnp.asarray(luma).astype(images.dtype)
    return jnp.repeat(images, channels, -1)


def edges(images: jax.Array, *, low: float = 0.1, high: float = 0.3) -> jax.Array:
    """Draws the outlines of images, black (-1) on white (1), as a pencil does: `[B, H, W, 1]`.

    How dark a line is follows from the length of Sobel's gradient of the luma, measured as the contrast of a straight
    step across or down: 1 from black to white. Up to `low` nothing is drawn, from `high` on black, linearly between;
    where both are equal, lines are black or not there. Beyond the border the outermost pixel is repeated. ValueError
    unless 0 ≤ low ≤ high, and for other than 1 or 3 channels.
    """
    if not 0 <= low <= high:
        raise ValueError(f"expected edges with 0 ≤ low ≤ high, got {low} and {high}")
    x = jnp.pad(grey(images).astype(jnp.float32) / 2, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down, across = x[:, 2:] - x[:, :-2], x[:, :, 2:] - x[:, :, :-2]
    down = (down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]) / 4
    across = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 4
    contrast = jnp.sqrt(down**2 + across**2)
    dark = jnp.clip((contrast - low) / (high - low), 0.0, 1.0) if low < high else (contrast > low).astype(jnp.float32)
    return (1 - 2 * dark).astype(images.dtype)


def jpeg(images: jax.Array, quality: int) -> jax.Array:
    """Returns what is left of images that are saved as JPEG and read again (ITU-T T.81): 1 or 3 channels, any size.

    quality: 1 to 100, by which the tables of the standard's Annex K are scaled as libjpeg scales them. Baseline, colour
    as JFIF's YCbCr with 4:2:0 chroma that is interpolated when read, and padding at the right and lower border as in
    libjpeg-turbo. It is what Pillow saves and reads again within a level of 255 but for a few pixels in a hundred: in
    some blocks a coefficient half-way between two steps goes to the other one, since the cosine transform is in
    float32 and libjpeg's in integers. Values are clipped to [-1, 1] and rounded to 256 levels; no gradient passes.
    ValueError for another quality or number of channels.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a quality from 1 to 100, got {quality}")
    height, width, channels = images.shape[1:]
    if channels not in (1, 3):
        raise ValueError(f"JPEG takes images of 1 or 3 channels, got {channels}")
    levels = jnp.round((jnp.clip(images.astype(jnp.float32), -1, 1) + 1) * 127.5)
    luminance, chrominance = (_scaled(table, quality) for table in (_LUMINANCE, _CHROMINANCE))
    if channels == 1:
        found = _quantised(levels[..., 0], luminance)[..., None]
    else:
        y, *colours = jnp.moveaxis(jnp.clip(jnp.round(_to_ycbcr(levels)), 0, 255), -1, 0)
        colours = [_doubled(_quantised(_halved(plane), chrominance), height, width) for plane in colours]
        found = _from_ycbcr(_quantised(y, luminance), *colours)
    return (jnp.clip(jnp.round(found), 0, 255) / 127.5 - 1).astype(images.dtype)


# ITU-T T.81, tables K.1 and K.2, rows of rising vertical frequency.
_LUMINANCE = """
16 11 10 16  24  40  51  61
12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77
24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101
72 92 95 98 112 100 103  99"""
_CHROMINANCE = """
17 18 24 47 99 99 99 99
18 21 26 66 99 99 99 99
24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99"""


def _scaled(table: str, quality: int) -> np.ndarray:
    """Returns a quantisation table `[8, 8]` for a quality, in libjpeg's whole numbers (`jpeg_quality_scaling`)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(table.split(), int).reshape(8, 8) * percent + 50) // 100, 1, 255)


def _to_ycbcr(levels: jax.Array) -> jax.Array:
    """JFIF 1.02: BT.601 with all of 0 to 255 in use, `[..., 3]`."""
    red, green, blue = LUMA
    matrix = np.array([[red, green, blue], [-red, -green, 1 - blue], [1 - red, -green, -blue]])
    matrix[1:] *= np.array([[0.5 / (1 - blue)], [0.5 / (1 - red)]])
    planes = jnp.einsum("...c,yc->...y", levels, jnp.asarray(matrix, jnp.float32), precision="highest")
    return planes + jnp.array([0, 128, 128], jnp.float32).reshape(1, 1, 1, 3)


def _from_ycbcr(y: jax.Array, cb: jax.Array, cr: jax.Array) -> jax.Array:
    """The inverse of `_to_ycbcr`, of planes."""
    (red, green, blue), cb, cr = LUMA, cb - 128, cr - 128
    from_cb, from_cr = 2 * (1 - blue), 2 * (1 - red)
    return jnp.stack([y + from_cr * cr, y - (blue * from_cb * cb + red * from_cr * cr) / green, y + from_cb * cb], -1)


@functools.cache
def _cosines() -> np.ndarray:
    """Returns the orthonormal DCT-II `[frequency, place]` of 8 numbers, float64: T.81, A.3.3."""
    frequency, place = np.arange(8)[:, None], np.arange(8)
    return np.where(frequency == 0, np.sqrt(1 / 8), 0.5) * np.cos((2 * place + 1) * frequency * np.pi / 16)


def _quantised(plane: jax.Array, table: np.ndarray) -> jax.Array:
    """Takes levels `[B, H, W]` through quantised cosine transforms of blocks of 8×8, rounded to levels again."""
    batch, height, width = plane.shape
    padded = jnp.pad(plane, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge") - 128
    blocks = padded.reshape(batch, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
    cosines = jnp.asarray(_cosines(), jnp.float32)
    steps = jnp.asarray(table, jnp.float32).reshape(1, 1, 8, 1, 8)
    frequencies = jnp.einsum("ui,byixj,vj->byuxv", cosines, blocks, cosines, precision="highest")
    # In eighths, as libjpeg's transform leaves them: half a step is common, and is rounded away from zero.
    eighths = jnp.round(8 * frequencies)
    whole = jnp.sign(eighths) * jnp.floor((jnp.abs(eighths) + 4 * steps) / (8 * steps))
    back = jnp.einsum("ui,byuxv,vj->byixj", cosines, whole * steps, cosines, precision="highest")
    # Blocks of one frequency, the mean, often end half-way, which is rounded up whatever float32 made of the half.
    return jnp.clip(jnp.floor(back.reshape(padded.shape) + (128.5 + 1e-3)), 0, 255)[:, :height, :width]


def _halved(plane: jax.Array) -> jax.Array:
    """Averages 2×2 levels of `[B, H, W]`, to whole ones, quarters and halves rounded down and up by turns; columns are
    filled up to blocks before, as libjpeg does (and rows afterwards)."""
    padded = jnp.pad(plane, ((0, 0), (0, plane.shape[1] % 2), (0, -plane.shape[2] % 16)), mode="edge")
    sums = padded[:, ::2, ::2] + padded[:, 1::2, ::2] + padded[:, ::2, 1::2] + padded[:, 1::2, 1::2]
    return jnp.floor((sums + 1 + _odd(sums.shape[2])) / 4)


def _doubled(plane: jax.Array, height: int, width: int) -> jax.Array:
    """Returns a plane of half the size at `[B, height, width]`, interpolated: a level counts three times what the next
    nearest does, along each axis (libjpeg's fancy upsampling)."""
    plane = plane[:, : -(-height // 2), : -(-width // 2)]
    if plane.shape[2] <= 2:  # too narrow for libjpeg, which repeats levels then
        return plane.repeat(2, 1).repeat(2, 2)[:, :height, :width]
    for axis in (1, 2):
        last = plane.shape[axis] - 1
        before = jnp.take(plane, np.maximum(np.arange(last + 1) - 1, 0), axis)
        after = jnp.take(plane, np.minimum(np.arange(last + 1) + 1, last), axis)
        both = jnp.stack([3 * plane + before, 3 * plane + after], axis + 1)
        plane = both.reshape(*plane.shape[:axis], 2 * plane.shape[axis], *plane.shape[axis + 1 :])
    return jnp.floor((plane + 8 - _odd(plane.shape[2])) / 16)[:, :height, :width]


def _odd(columns: int) -> jax.Array:
    """Returns 0, 1, 0, 1 ... `[1, 1, columns]`."""
    return (jnp.arange(columns) % 2).astype(jnp.float32).reshape(1, 1, -1)
