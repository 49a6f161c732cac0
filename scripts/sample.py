"""Draws images from a run.

    python -m scripts.sample RUN --count 10000 --out samples.npz     uint8 `images` [N, H, W, C]
    python -m scripts.sample RUN --grid grid.png
    python -m scripts.sample RUN --interpolate walk.gif              a walk between latents, on the sphere

One command may ask for all three. The same seed draws the same images, whatever the count.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.experiment import GAN, DataSpec, display_inputs, images_of
from jaxgan.training.files import whole
from jaxgan.training.pictures import grid, picture, save_gif, save_png
from jaxgan.training.run import Run
from jaxgan.training.usage import UsageError, command_line, plain_exits, writing

BATCH = 256
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
    """File for a picture of the first 64, .png."""
    interpolate: Path | None = None
    """File for an animated walk through the latents, .gif."""
    weights: Literal["ema", "raw"] = "ema"
    """The generator's averaged weights, or those of the last step."""
    step: int | None = None
    """Which checkpoint; by default the newest."""
    seed: int = 0
    """Of the latents."""


def restore(run: Run, step: int | None = None) -> tuple[GAN, Any, DataSpec, int]:
    """The run's GAN, its state at `step` (by default the newest), its data's description, and the step."""
    build, options, data = run.experiment()
    gan = build(options, data)
    like = jax.eval_shape(gan.init, jax.random.key(options.seed))
    with contextlib.closing(Checkpoints(run.directory, read_only=True)) as checkpoints:  # it may be training still
        found = checkpoints.restore_newest(like) if step is None else (step, checkpoints.restore(step, like))
    if found is None:
        raise UsageError(
            f"{run.directory} has no checkpoint yet; its --checkpoint-every is {options.checkpoint_every} steps"
        )
    return gan, found[1], data, found[0]


def draw(gan: GAN, state: Any, data: DataSpec, count: int, *, ema: bool = True, seed: int = 0) -> np.ndarray:
    """`count` images, uint8 `[count, H, W, C]`."""
    key = jax.random.key(seed)
    size = min(BATCH, count)
    batch = jax.jit(
        lambda state, first: images_of(gan, state, display_inputs(gan, key, first, size, data.classes), ema)
    )
    starts = tqdm(range(0, count, size), unit="batch", desc="drawing", disable=count <= BATCH)
    return np.concatenate([np.asarray(batch(state, first)) for first in starts])[:count]


def walk(gan: GAN, state: Any, data: DataSpec, *, ema: bool = True, seed: int = 0) -> list[np.ndarray]:
    """Frames of a closed walk: latents turned into each other along great circles, since N(0, I) lives near a
    sphere."""
    inputs = display_inputs(gan, jax.random.key(seed), 0, WALKERS * STOPS, data.classes)
    stops = inputs["latent"].reshape(STOPS, WALKERS, -1)
    others = {name: value[:WALKERS] for name, value in inputs.items()}

    @jax.jit
    def frame(state: Any, start: jax.Array, end: jax.Array, t: jax.Array) -> jax.Array:
        cosine = jnp.sum(start * end, -1) / (jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1))
        angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[:, None]
        latent = (jnp.sin((1 - t) * angle) * start + jnp.sin(t * angle) * end) / jnp.sin(angle)
        return images_of(gan, state, {**others, "latent": latent.reshape(others["latent"].shape)}, ema)

    moments = [(i, t) for i in range(STOPS) for t in np.linspace(0, 1, FRAMES, endpoint=False, dtype=np.float32)]
    return [
        grid(np.asarray(frame(state, stops[i], stops[(i + 1) % STOPS], t))) for i, t in tqdm(moments, desc="walking")
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
    if options.count < 1:
        raise UsageError(f"--count must be at least 1, got {options.count}")
    gan, state, data, step = restore(Run(options.run), options.step)
    arguments = {"ema": options.weights == "ema", "seed": options.seed}
    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (options.out, lambda path: save_images(path, draw(gan, state, data, options.count, **arguments))),
        (options.grid, lambda path: save_png(path, picture(draw(gan, state, data, data.shown, **arguments)))),
        (options.interpolate, lambda path: save_gif(path, walk(gan, state, data, **arguments), 60)),
    ]
    for path, write in writers:
        if path:
            with writing(path):
                write(path)
            print(f"{path}: {options.weights} weights of step {step}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
