"""Runs of a generator without a network, whose pictures of codes can be worked out by hand: z is mapped to w by a
matrix, and each of four layers paints a quarter of 8×8 pixels with its w times a matrix."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.samplers import labelled_latents, latents
from jaxgan.training import GAN, Latents, latents_with, sample_through, train
from jaxgan.training import Options as CommonOptions

LAYERS, SIZE = ("4", "8", "8", "16"), 3
random = np.random.default_rng(5)
MAP = random.normal(size=(SIZE, SIZE)).astype(np.float32)
PAINT = random.normal(size=(len(LAYERS), SIZE, 16)).astype(np.float32)
MEAN = np.array([0.3, -0.2, 0.1], np.float32)


class State(flax.struct.PyTreeNode):
    step: jax.Array
    key: jax.Array
    mean: jax.Array


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    kind: Literal["mapped", "plain", "labelled", "none"] = "mapped"
    """What generator it is."""


def painted(w):
    """Images `[N, 8, 8, 1]` of codes `[N, 4, 3]`: quarters by layers, left to right, then top to bottom."""
    quarters = jnp.tanh(jnp.einsum("nkd,kdp->nkp", w, PAINT)).reshape(-1, 2, 2, 4, 4)
    return quarters.transpose(0, 1, 3, 2, 4).reshape(-1, 8, 8, 1)


def space_of(kind):
    if kind == "mapped":
        return Latents(
            draw=latents(SIZE),
            codes=lambda state, inputs, *, weights="ema": jnp.repeat(
                (inputs["latent"] @ MAP + float(weights == "raw"))[:, None], len(LAYERS), axis=1
            ),
            synthesize=lambda state, codes, inputs, *, weights="ema": {"image": painted(codes)},
            mean=lambda state, *, weights="ema": state.mean,
            layers=LAYERS,
            factors=lambda state, *, weights="ema": [jnp.asarray(each) for each in PAINT],
        )

    def synthesize(state, codes, inputs, *, weights="ema"):
        shift = 0.1 * inputs["condition"].astype(jnp.float32)[:, None, None] if kind == "labelled" else 0.0
        return {"image": painted(jnp.repeat(codes + shift, len(LAYERS), axis=1))}

    sampler = labelled_latents(SIZE) if kind == "labelled" else latents(SIZE)
    return latents_with(sampler, SIZE)._replace(synthesize=synthesize)


def build(options, spec):
    def iteration(state, batch):
        return state.replace(step=state.step + 1), {"generator/loss": batch["image"].mean()}

    def noise(state, examples, keys, *, weights="ema"):
        return {"image": jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1)))(keys)}

    space = None if options.kind == "none" else space_of(options.kind)
    sample = sample_through(space) if space else noise
    return GAN(lambda key: State(jnp.int32(0), key, MEAN), iteration, options.batch_size, sample, latents=space)


def files_of(directory, count=40):
    """A file of random images with two classes."""
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), np.uint8)
    np.savez(directory / "images.npz", images=images, labels=np.arange(count) % 2)
    return images


def run_of(directory, name="run", **changes):
    """Trains such a run for a step, and returns its directory."""
    files_of(directory)
    options = {"steps": 1, "checkpoint_every": 1, "batch_size": 2, "devices": 1, "image_size": 8} | changes
    data = f"npz:{directory / 'images.npz'}"
    train(build, Options(workdir=str(directory / name), dataset=data, **options))
    return directory / name


def runs_of(directory):
    """Runs of each kind, by name, whose states are the same."""
    found = {"mapped": run_of(directory, "mapped")}
    for kind in ("plain", "labelled", "none"):
        found[kind] = Path(shutil.copytree(found["mapped"], directory / kind))
        options = json.loads((found[kind] / "options.json").read_text())
        options["options"]["kind"] = kind
        (found[kind] / "options.json").write_text(json.dumps(options))
    return found
