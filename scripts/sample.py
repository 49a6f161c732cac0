"""Draws from a run.

    python -m scripts.sample RUN --count 10000 --out samples.npz     uint8 `images` [N, H, W, C], `labels`
    python -m scripts.sample RUN --count 10000 --out table.csv       of vectors
    python -m scripts.sample RUN --grid grid.png                     of a conditional GAN, a class a row
    python -m scripts.sample RUN --label 7 --grid sevens.png
    python -m scripts.sample RUN --interpolate walk.gif              a walk between latents, on the sphere

One command may ask for all three. The same seed draws the same images, whatever the count. Of a run with --seeds or
--sweep, --member 3 takes one of its GANs.
"""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxgan.data.sets import LABEL
from jaxgan.training import OpenRun, open  # noqa: A004 - the library's name for it
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, writing
from jaxgan.training.output.atomic import atomic_write
from jaxgan.training.output.pictures import save_gif, save_png

WALKERS, STOPS, FRAMES = 16, 6, 15  # latents that walk side by side, stops on the way, frames from stop to stop


@dataclasses.dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[Path]
    """A run directory."""
    count: int = 64
    """Images (or points, or vectors) to write to --out."""
    out: Path | None = None
    """File for them, .npz, with the labels that they were asked for by; for vectors .csv too."""
    grid: Path | None = None
    """File for a picture of the first 64, or of 8 of each class, .png."""
    interpolate: Path | None = None
    """File for an animated walk through the latents, .gif."""
    weights: Literal["ema", "raw"] = "ema"
    """The generator's averaged weights, or those of the last step."""
    step: int | Literal["best"] | None = None
    """Which checkpoint, best being that of a run with --eval-every; by default the newest."""
    member: int | None = None
    """Which of the GANs of a run with --seeds or --sweep; by default all, images [members, N, H, W, C]."""
    label: int | None = None
    """Of a conditional GAN, the class of all images, counted from 0; by default they come as often as the data have
    them."""
    seed: int = 0
    """Of the latents."""


def walk(run: OpenRun, *, ema: bool = True, seed: int = 0, label: int | None = None) -> list[np.ndarray]:
    """Frames of a closed walk: latents turned into each other along great circles. Labels stay. UsageError for a GAN
    whose sample has no latents to walk between."""
    run.check(label)
    if "toward" not in inspect.signature(run.alone.sample).parameters:
        raise UsageError(f"--interpolate: the samples of {run.directory} have no latents to walk between")
    drawing, root = run.drawing, jax.random.key(seed)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(WALKERS * STOPS)).reshape(STOPS, WALKERS)
    asked = drawing.asked(0, WALKERS, label=label, run=1)

    @jax.jit
    def frame(state: Any, start: jax.Array, end: jax.Array, share: jax.Array) -> dict[str, jax.Array]:
        return drawing.stored(state, asked, start, ema=ema, toward=end, share=share)

    moments = [(i, t) for i in range(STOPS) for t in np.linspace(0, 1, FRAMES, endpoint=False, dtype=np.float32)]
    frames = []
    for i, t in tqdm(moments, desc="walking"):
        drawn = frame(run.state, keys[i], keys[(i + 1) % STOPS], t)
        frames.append(drawing.picture({name: np.asarray(drawn[name]) for name in drawing.outputs}))
    return frames


def save(path: Path, run: OpenRun, count: int, **how: Any) -> None:
    """What a run draws, as a file written atomically."""
    drawn = run.draw(count, **how)
    names = {LABEL: "labels"}
    beside = {names.get(name, name): array for name, array in drawn.items() if name != run.drawing.main}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        run.drawing.medium(run.drawing.main).save(file, path.suffix, drawn[run.drawing.main], beside)


def run(options: Options) -> None:
    wanted = [path for path in (options.out, options.grid, options.interpolate) if path]
    if not wanted:
        raise UsageError("nothing to do: name a file with --out, --grid or --interpolate")
    opened = open(options.run, options.step, member=options.member)
    suffixes = opened.drawing.medium(opened.drawing.main).suffixes
    if options.out and options.out.suffix not in suffixes:
        raise UsageError(f"--out {options.out}: {opened.data.medium.plural} are saved as {' or '.join(suffixes)}")
    for path in wanted:
        if not path.absolute().parent.is_dir():
            raise UsageError(f"can't write {path}: the folder {path.absolute().parent} doesn't exist")
    arguments = {"ema": options.weights == "ema", "seed": options.seed, "label": options.label}
    square = bool(opened.members) or options.label is not None
    shown, columns = opened.drawing.grid(square=square)
    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (options.out, lambda path: save(path, opened, options.count, **arguments)),
        (options.grid, lambda path: save_png(path, opened.picture(shown, columns, **arguments))),
        (options.interpolate, lambda path: save_gif(path, walk(opened, **arguments), 60)),
    ]
    whose = f" of all {len(opened.members)} members" if opened.members else ""
    whose += f"; diverged, and is as it was before step {opened.frozen}" if opened.frozen else ""
    for path, write in writers:
        if path:
            with writing(path):
                write(path)
            print(f"{path}: {options.weights} weights of step {opened.step}{whose}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
