"""Draws images from a run.

    python -m scripts.sample RUN --count 10000 --out samples.npz     uint8 `images` [N, H, W, C]
    python -m scripts.sample RUN --grid grid.png                     of a conditional GAN, a class a row
    python -m scripts.sample RUN --label 7 --grid sevens.png
    python -m scripts.sample RUN --interpolate walk.gif              a walk between latents, on the sphere

One command may ask for all three. The same seed draws the same images, whatever the count. Of a run with --seeds or
--sweep, --member 3 takes one of its GANs.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxgan.training import OpenRun, open  # noqa: A004 - the library's name for it
from jaxgan.training.experiment import display_inputs, images_of, sheet
from jaxgan.training.files import whole
from jaxgan.training.pictures import picture, save_gif, save_png
from jaxgan.training.usage import UsageError, command_line, plain_exits, writing

WALKERS, STOPS, FRAMES = 16, 6, 15  # latents that walk side by side, stops on the way, frames from stop to stop


@dataclasses.dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[Path]
    """A run directory."""
    count: int = 64
    """Images to write to --out."""
    out: Path | None = None
    """File for the images, .npz."""
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
    """Of a conditional GAN, the class of all images, counted from 0; by default classes take turns."""
    seed: int = 0
    """Of the latents."""


def walk(run: OpenRun, *, ema: bool = True, seed: int = 0, label: int | None = None) -> list[np.ndarray]:
    """Frames of a closed walk: latents turned into each other along great circles, since N(0, I) lives near a
    sphere. Labels stay."""
    run.check(label)
    inputs = display_inputs(run.gan, jax.random.key(seed), 0, WALKERS * STOPS, run.data.classes, label=label)
    stops = inputs["latent"].reshape(STOPS, WALKERS, -1)
    others = {name: value[:WALKERS] for name, value in inputs.items()}

    @jax.jit
    def frame(state: Any, start: jax.Array, end: jax.Array, t: jax.Array) -> jax.Array:
        cosine = jnp.sum(start * end, -1) / (jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1))
        angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[:, None]
        latent = (jnp.sin((1 - t) * angle) * start + jnp.sin(t * angle) * end) / jnp.sin(angle)
        return images_of(run.gan, state, {**others, "latent": latent.reshape(others["latent"].shape)}, ema)

    moments = [(i, t) for i in range(STOPS) for t in np.linspace(0, 1, FRAMES, endpoint=False, dtype=np.float32)]
    return [
        picture(np.asarray(frame(run.state, stops[i], stops[(i + 1) % STOPS], t)))
        for i, t in tqdm(moments, desc="walking")
    ]


def save_images(path: Path, images: np.ndarray) -> None:
    """`images` as an .npz file, which is there whole or not at all."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images)


def run(options: Options) -> None:
    wanted = [path for path in (options.out, options.grid, options.interpolate) if path]
    if not wanted:
        raise UsageError("nothing to do: name a file with --out, --grid or --interpolate")
    for path in wanted:
        if not path.absolute().parent.is_dir():
            raise UsageError(f"can't write {path}: the folder {path.absolute().parent} doesn't exist")
    opened = open(options.run, options.step, member=options.member)
    arguments = {"ema": options.weights == "ema", "seed": options.seed, "label": options.label}
    square = bool(opened.members) or options.label is not None
    shown, columns = sheet(opened.gan, opened.data, square=square)
    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (options.out, lambda path: save_images(path, opened.sample(options.count, **arguments))),
        (options.grid, lambda path: save_png(path, picture(opened.sample(shown, run=columns, **arguments), columns))),
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
