"""The options that say which images a network is given, and how they come to it."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import ClassVar, Literal

import jax

from jaxgan import augment
from jaxgan.data.transform import Filter, FitOrTiles
from jaxgan.training.errors.usage import require
from jaxgan.training.options.fields import Bounded, bounded

__all__ = ["DataOptions", "RealTransform", "Size", "real_transform", "shape_of"]

Size = int | str  # of images: a side of the square, or "HEIGHTxWIDTH"

LARGEST = 16_384  # pixels of a side

# `(images, keys) -> images`, float32 `[B, H, W, C]` in [-1, 1], a key an example.
RealTransform = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class DataOptions(Bounded):
    """Options of data; every experiment's options, and those of `scripts.data`, inherit them."""

    GROUP: ClassVar[str] = "data"

    dataset: str = "auto"
    """mnist, fashion_mnist, cifar10 or any other image set of TFDS's; stacked_mnist (three of mnist's digits as the
    colours of one image, 1,000 modes); slanted_mnist (mnist slanted and coloured, 32x32, a translation whose answer is
    known); digits (1,797 small ones), slanted_digits, glyphs (characters in two typefaces), photographs (two) and
    diabetes (442 vectors of 10 numbers), which are always there; faces (scikit-image's 100 small ones); folder:PATH
    (pictures, subfolders are classes; or a .zip of such a folder); pairs:PATH (pictures of equal names in its folders A
    and B, of which B is to be made of A, or pictures whose right half is to be made of the left; or a .zip of either);
    npz:PATH (uint8 `images` or float `vectors`, `labels`, `sources` of the images); csv:PATH (vectors); ring or grid
    (points of the plane). auto is mnist where it can be had, otherwise digits. NAME=SET,NAME=SET are several, for
    experiments that take them."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    image_size: Size | None = None
    """Pixels of a side, or of height and width, 48x64; by default the set's own."""
    fit: FitOrTiles = "crop"
    """How images of another size come to it: pad centres smaller ones on black, crop takes the largest part of these
    proportions out of the middle and resizes it, stretch resizes without regard to proportions. tiles cuts each into as
    many of --load-size, or else of --image-size, as it has room for, and resizes nothing."""
    filter: Filter = "lanczos"
    """Of resizing, which is antialiased."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 colour; by default the set's own, of pairs each side's, and colour for folders."""
    classes: str | None = None
    """Only these, by name or number: 3,7 or cat,dog. They are then numbered from 0 in this order."""
    images: str | None = None
    """Only so many, drawn at random but alike in every run: 5000 or 10%. With --fit tiles, whole pictures."""
    hold_out: str | None = None
    """Keep so many of these from training, drawn alike in every run, to draw from (what a translator is shown) and to
    score against: 500 or 5%. By default the test split serves, where the set has one. With --fit tiles, whole pictures:
    no tile of them is trained on."""
    reverse_pairs: bool = False
    """Exchange the image and the source of a set of pairs: make A of B, or the left half of the right one."""
    equalize: bool = False
    """Flatten each image's histogram."""
    skip_bad_images: bool = False
    """Leave images out that can't be read or don't fit, and say how many, instead of refusing the set."""
    load_size: Size | None = None
    """Bring images to this size first; the step then cuts out a random square of --image-size, another each time."""
    flip: bool = False
    """Mirror half of the real images left to right, at random."""
    turn: bool = False
    """Turn real images, which must be square, by 0, 90, 180 or 270 degrees, at random; with --flip, all eight
    symmetries."""
    rotate: float = bounded(0.0, at_least=0, at_most=180, unit="degrees")
    """Turn real images by up to so many degrees, at random."""
    scale: float = bounded(0.0, at_least=0, at_most=9)
    """Scale real images by up to this share, at random: 0.1 is from 1/1.1 to 1.1."""
    stream: bool = False
    """Read images as they are needed, in processes of their own, instead of keeping the set on the device. Needs Grain:
    pip install 'jaxgan[grain]'."""
    workers: int = bounded(2, at_least=1, at_most=1024)
    """Processes that read, with --stream."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "dataset", bool(self.dataset.strip("/.: ")), "the name of a data set")
        for name in ("images", "hold_out"):
            amount = getattr(self, name)
            require(self, name, amount is None or _is_amount(amount), "a number such as 5000 or a share such as 10%")
        classes = [] if self.classes is None else [each.strip() for each in self.classes.split(",")]
        right = all(classes) and len(set(classes)) == len(classes)
        require(self, "classes", right, "names or numbers of classes with commas between, each of them once")
        for name in ("image_size", "load_size"):
            asked = getattr(self, name)
            shape = (1, 1) if asked is None else shape_of(asked)
            require(self, name, shape is not None, "a side of the square, 64, or height and width, 48x64")
            require(self, name, max(shape or (0, 0)) <= LARGEST, f"at most {LARGEST} pixels of a side")
        sized = self.image_size is not None or self.load_size is not None
        require(self, "fit", self.fit != "tiles" or sized, "given together with --image-size, the size of the tiles")
        if self.load_size is not None:
            require(self, "load_size", self.image_size is not None, "given together with --image-size")
            (tall, wide), (height, width) = shape_of(self.load_size) or (0, 0), self.crop_shape or (0, 0)
            require(
                self,
                "load_size",
                tall >= height and wide >= width,
                f"at least --image-size, which is {self.image_size}",
            )
            require(
                self, "image_size", height == width, "a square with --load-size, of which random squares are cut out"
            )

    @property
    def crop_shape(self) -> tuple[int, int] | None:
        """Returns height and width of what the step cuts out, None where it takes whole images."""
        return shape_of(self.image_size) if self.load_size and self.image_size else None


def _is_amount(text: str) -> bool:
    """Tells whether a text is a number of images, or a share of them, which may still be more than there are."""
    share = text.endswith("%")
    try:
        number = float(text[:-1]) if share else int(text)
    except ValueError:
        return False
    return 0 < number <= 100 if share else number >= 1


def shape_of(size: Size) -> tuple[int, int] | None:
    """Parses height and width; None for a text that is no size."""
    sides = re.fullmatch(r"([0-9]{1,5})(?:[x×]([0-9]{1,5}))?", str(size))
    found = (int(sides[1]), int(sides[2] or sides[1])) if sides else (0, 0)
    return found if min(found) >= 1 else None


def real_transform(options: DataOptions) -> RealTransform | None:
    """Returns the random changes of real images that the compiled step makes; None for none."""
    parts: list[RealTransform] = []
    if options.rotate or options.scale:
        parts.append(functools.partial(augment.rotate_and_scale, degrees=options.rotate, scale=options.scale))
    if options.crop_shape:
        parts.append(functools.partial(augment.random_crop, size=options.crop_shape[0]))
    if options.flip:
        parts.append(augment.flip)
    if options.turn:
        parts.append(augment.turn)
    if not parts:
        return None

    return lambda images, keys: functools.reduce(lambda images, part: part(images, keys), parts, images)
