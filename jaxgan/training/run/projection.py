"""Projections of images by an open run, and the file that keeps one: whole after every save, so that one which was
stopped or killed goes on from there."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jax
import numpy as np

from jaxgan.data.npz import read_npz
from jaxgan.files import atomic_write
from jaxgan.media import Image
from jaxgan.printable import printable
from jaxgan.projection import Projection
from jaxgan.terminal import Bar
from jaxgan.training.checkpoints.digest import digests
from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError, refusals
from jaxgan.training.exploring.projector import Projector, Space
from jaxgan.training.recipe.gan import Weights

if TYPE_CHECKING:
    from jaxgan.training.run.open_run import OpenRun

__all__ = [
    "NETWORKS",
    "Projected",
    "advanced",
    "continued",
    "image_shape",
    "labels_of",
    "load_projection",
    "projected",
    "projector_of",
    "save_projection",
]

NETWORKS = {1: "mnist-v1", 3: "cifar10-v1"}  # whose features are compared by default, by the images' channels
CHUNK = 100  # steps, at most, after which the bar moves
LARGEST = 2**36  # bytes of a file; more isn't read
VERSION = 1  # of the file
STATE = "state/"  # how arrays are called from which an unfinished projection goes on
# What a projection must have in common with the one that goes on with it, and what it is called where they differ.
SAME = {
    "images": "other pictures or labels",
    "generator": "another checkpoint, other weights or another run",
    "space": "--space {}",
    "steps": "--steps {}",
    "starts": "--starts {}",
    "network": "--perceptual-network {}",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Projected:
    """Images as codes of a run's generator. codes: float32 `[N, K, D]`, as `OpenRun.synthesize` takes them. losses:
    float32 `[N]`. labels: int32 `[N]`, of a conditional generator. names: of the images. about: `run`, `step` (of its
    checkpoint), `weights`, `space`, `steps`, `done` (of these), `starts`, `network` and more."""

    codes: np.ndarray
    losses: np.ndarray
    labels: np.ndarray | None
    names: tuple[str, ...]
    about: dict[str, Any]


def projector_of(
    run: "OpenRun",
    images: np.ndarray,
    label: int | Sequence[int] | None = None,
    *,
    space: Space | None = None,
    steps: int = 1000,
    starts: int = 1,
    weights: Weights = "ema",
    network: str | None = None,
) -> Projector:
    """Returns what projects images into a run's latent space; see `OpenRun.project`, also for its errors."""
    shape, of = image_shape(run), run.latent_space
    if space is None:
        space = "w" if of.mapped else "z"
    if space not in get_args(Space):
        raise UsageError(f"the space must be one of {', '.join(get_args(Space))}, got {space}")
    if space != "z" and not of.mapped:
        raise UsageError(f"the generator of {run.directory} has no mapping, and so no space {space}: take --space z")
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        wanted = ", ".join(map(str, shape))
        raise UsageError(f"{run.directory} draws uint8 [N, {wanted}], got {images.dtype} {list(images.shape)}")
    weights = run.named_weights(weights)
    for name, value in (("steps", steps), ("starts", starts)):
        if value < 1:
            raise UsageError(f"the {name} must be at least 1, got {value}")
    labels = labels_of(run, label, len(images))
    with refusals():
        how: Any = {"space": space, "steps": steps, "starts": starts, "weights": weights}
        return Projector(of, images, labels, network=network or NETWORKS[shape[-1]], **how)


def image_shape(run: "OpenRun") -> tuple[int, ...]:
    """Returns height, width and channels of the images that are drawn from a run's latent space. UsageError for a run
    without one, of several GANs, or of something else."""
    drawing = run.latent_space.drawing
    field = run.data.like(drawing.main)
    if field.kind != Image.kind:
        raise UsageError(f"{run.directory} draws {field.medium.plural}, and only images are projected")
    if field.shape[-1] not in NETWORKS:
        raise UsageError(f"{run.directory} draws {field.shape[-1]} channels, and images of 1 or 3 are projected")
    return field.shape


def labels_of(run: "OpenRun", label: int | Sequence[int] | None, count: int) -> list[int] | None:
    """Returns a label for each image, where the generator is given such. UsageError for what can't be one."""
    if label is None and not run.drawing.conditional:
        return None
    if label is None:
        raise UsageError(f"the generator of {run.directory} is given labels: say which the pictures have (--label)")
    found = np.asarray(label, np.int32).reshape(-1).tolist()
    if len(found) not in (1, count):
        raise UsageError(f"there must be one label for all pictures, or {count}, one for each, got {len(found)}")
    for each in sorted(set(found)):
        run.check(each)
    return found if len(found) == count else found * count


def advanced(projector: Projector, projection: Projection, bar: Bar) -> Iterator[Projection]:
    """Yields a projection as it goes on to its last step, about once a second. Stopped where the loss of an image has
    never been finite."""
    count, first = 1, True
    while (done := int(projection.step)) < projector.steps:
        count, start = min(count, projector.steps - done), time.monotonic()
        with refusals():
            projection = jax.block_until_ready(projector.advance(projection, count))
        losses = projector.losses(projection)
        if not np.isfinite(losses).all():
            which = int(np.argmin(np.isfinite(losses)))
            raise Stopped(f"the loss of picture {which} isn't finite: the run's generator has diverged", 1)
        bar.set_postfix_str(f"loss {losses.mean():.4f}", refresh=False)
        (bar.start if first else bar.update)(count)
        yield projection
        speed = count / max(time.monotonic() - start, 1e-6)
        count, first = max(1, min(CHUNK, int(speed))) if not first else 2, False


def projected(
    run: "OpenRun", projector: Projector, projection: Projection, images: np.ndarray, names: tuple[str, ...]
) -> Projected:
    """Returns what has been found so far."""
    pixels = hashlib.sha256(repr((images.shape, projector.labels is not None)).encode() + images.tobytes())
    if projector.labels is not None:
        pixels.update(np.asarray(projector.labels).tobytes())
    about = {
        "version": VERSION,
        "run": str(run.directory),
        "step": run.step,
        "seed": run.options.seed,
        "weights": projector.weights,
        "generator": _digest(run.state, projector.weights),
        "images": pixels.hexdigest(),
        "layers": list(projector.latents.layers),
        "space": projector.space,
        "steps": projector.steps,
        "starts": projector.starts,
        "network": projector.network,
        "done": int(projection.step),
    }
    labels = None if projector.labels is None else np.asarray(projector.labels)
    return Projected(projector.codes(projection), projector.losses(projection), labels, names, about)


def _digest(state: Any, weights: Weights) -> str:
    return hashlib.sha256(weights.encode() + np.asarray(digests(jax.tree.leaves(state))).tobytes()).hexdigest()


def save_projection(path: Path, found: Projected, projection: Projection | None) -> None:
    """Writes a projection whole or not at all: what was found and, of one that isn't finished, `projection`, from which
    it goes on bit for bit. OSError where it can't be written."""
    about = json.dumps({**found.about, "names": found.names})
    arrays = {"codes": found.codes, "losses": found.losses, "about": np.array(about)}
    if found.labels is not None:
        arrays["labels"] = found.labels
    if projection is not None:
        arrays |= {f"{STATE}{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(projection))}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_projection(path: str | Path) -> Projected:
    """Reads the projection in a file, or in a folder that `scripts.project` has written, finished or not. UsageError
    for what is none."""
    return _read(Path(path))[0]


def continued(path: Path, found: Projected, start: Projection) -> Projection | None:
    """Reads the projection from which the one in a file goes on, None where that is finished. found, start: what has
    been found before the first step, and the projection then. UsageError where the file's is another."""
    there, state = _read(path)
    for name, what in SAME.items():
        if there.about.get(name) != found.about[name]:
            is_of = what.format(there.about.get(name))
            raise UsageError(f"{printable(path)} is a projection with {is_of}: choose another --out, or remove it")
    if there.about["done"] == found.about["steps"]:
        return None
    leaves, tree = jax.tree.flatten(start)
    if [(x.shape, x.dtype) for x in state] != [(x.shape, x.dtype) for x in leaves]:
        raise UsageError(f"{printable(path)} is damaged, it can't go on: remove it")
    return jax.tree.unflatten(tree, [jax.numpy.asarray(x) for x in state])


def _read(path: Path) -> tuple[Projected, list[np.ndarray]]:
    path = path / "projection.npz" if path.is_dir() else path
    try:
        found = read_npz(path, LARGEST, "a projection has")
        about = json.loads(str(found["about"]))
        names = tuple(map(str, about.pop("names")))
        codes, losses, labels = found["codes"], found["losses"], found.get("labels")
        if codes.ndim != 3 or losses.shape != (len(codes),) or len(names) != len(codes) or about["version"] != VERSION:
            raise ValueError("its arrays don't fit each other")
        if about["done"] > about["steps"]:
            raise ValueError("it says that more was done than there was to do")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{printable(path)} can't be read as a projection ({error})") from None
    state = [found[f"{STATE}{i}"] for i in range(sum(name.startswith(STATE) for name in found))]
    return Projected(codes, losses, labels, names, about), state
